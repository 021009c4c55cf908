package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
)

// Attempt is one HTTP request of the webhook's client, from its first byte to the head of the answer.
type Attempt struct {
	at     time.Time
	took   time.Duration
	status string // or why no answer came
}

// meter notes every attempt. It stands in for http.DefaultTransport, which is what client-go takes over plain http.
type meter struct {
	mutex    sync.Mutex
	attempts []Attempt
	open     int
	mostOpen int
	next     http.RoundTripper
}

var attempts = meter{next: http.DefaultTransport}

func (m *meter) RoundTrip(request *http.Request) (*http.Response, error) {
	m.mutex.Lock()
	m.open++
	m.mostOpen = max(m.mostOpen, m.open)
	m.mutex.Unlock()
	begun := time.Now()
	response, err := m.next.RoundTrip(request)
	made := Attempt{begun, time.Since(begun), ""}
	if err == nil {
		made.status = strconv.Itoa(response.StatusCode)
	} else {
		made.status = cause(err)
	}
	m.mutex.Lock()
	m.open--
	m.attempts = append(m.attempts, made)
	m.mutex.Unlock()
	return response, err
}

// cause returns the words of the error that led to all others.
func cause(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

// LoadPhase is what was offered during a phase, and what became of the attempts that began in it; the last phase has
// those that came later, too.
type LoadPhase struct {
	Offered   int                  `json:"offered"`
	Dropped   map[string]float64   `json:"dropped"` // by plugin, apiserver_audit_error_total
	Held      int                  `json:"held"`    // most events in the buffer, at the ticks
	LatencyMs map[string][]float64 `json:"latency_ms"`
	Attempts  map[string]int       `json:"attempts"`
	RefusedAt float64              `json:"refused_at"` // seconds from the phase's begin to its last attempt that was not answered 200
}

// LoadAnswer is what a load came to.
type LoadAnswer struct {
	Phases   []LoadPhase        `json:"phases"`
	Dropped  map[string]float64 `json:"dropped"`
	MostOpen int                `json:"most_open"` // requests that awaited an answer at once
	CPUS     float64            `json:"cpu_s"`
	Seconds  float64            `json:"seconds"` // until the last batch was delivered or given up
	TookMs   []float64          `json:"took_ms"` // p50, p90, p99, max of ProcessEvents; in blocking mode only
}

// load returns what became of recorded events, offered by phases; in blocking mode by callers that wait for each.
func load(path string) (any, error) {
	http.DefaultTransport = &attempts
	scenario, sender, err := prepare(path)
	if err != nil {
		return nil, err
	}
	templates, err := recorded(scenario.Events)
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	answer := LoadAnswer{}
	begins := []time.Time{}
	start := time.Now()
	if scenario.Callers > 0 {
		begins = append(begins, start)
		answer.block(scenario, sender, templates)
	} else {
		backend := scenario.buffered(sender)
		if err := backend.Run(stop); err != nil {
			return nil, err
		}
		waiting := reflect.ValueOf(backend).Elem().FieldByName("buffer")
		offered := 0
		for _, phase := range scenario.Phases {
			begins = append(begins, time.Now())
			done := LoadPhase{}
			before := dropped()
			scenario.pace(phase, &done.Offered, func() {
				backend.ProcessEvents(unique(templates, scenario.Run, offered))
				offered++
			}, func() { done.Held = max(done.Held, waiting.Len()) })
			done.Dropped = dropped()
			for plugin, count := range before {
				done.Dropped[plugin] -= count
			}
			answer.Phases = append(answer.Phases, done)
		}
		close(stop)
		backend.Shutdown()
	}
	answer.Seconds = time.Since(start).Seconds()
	answer.Dropped = dropped()
	answer.MostOpen = attempts.mostOpen
	answer.CPUS = cpu()
	answer.sort(begins)
	return answer, nil
}

// block lets callers offer events, one by one, until the first phase's seconds are over.
func (a *LoadAnswer) block(scenario *Scenario, sender audit.Backend, templates []*auditinternal.Event) {
	ends := time.Now().Add(seconds(scenario.Phases[0].Seconds))
	var group sync.WaitGroup
	took := make([][]time.Duration, scenario.Callers)
	for caller := range scenario.Callers {
		group.Go(func() {
			for number := caller; time.Now().Before(ends); number += scenario.Callers {
				begun := time.Now()
				sender.ProcessEvents(unique(templates, scenario.Run, number))
				took[caller] = append(took[caller], time.Since(begun))
			}
		})
	}
	group.Wait()
	all := []time.Duration{}
	for _, some := range took {
		all = append(all, some...)
	}
	a.TookMs = percentiles(all)
	a.Phases = []LoadPhase{{Offered: len(all), Dropped: dropped()}}
}

// sort gives each phase the attempts that began in it.
func (a *LoadAnswer) sort(begins []time.Time) {
	took := make([]map[string][]time.Duration, len(begins))
	for number := range begins {
		took[number] = map[string][]time.Duration{}
		a.Phases[number].Attempts = map[string]int{}
		a.Phases[number].LatencyMs = map[string][]float64{}
	}
	for _, made := range attempts.attempts {
		number := sort.Search(len(begins), func(i int) bool { return begins[i].After(made.at) }) - 1
		phase := &a.Phases[number]
		phase.Attempts[made.status]++
		took[number][made.status] = append(took[number][made.status], made.took)
		if made.status != "200" {
			phase.RefusedAt = max(phase.RefusedAt, made.at.Add(made.took).Sub(begins[number]).Seconds())
		}
	}
	for number := range begins {
		for status, all := range took[number] {
			a.Phases[number].LatencyMs[status] = percentiles(all)
		}
	}
}

// percentiles returns the 50th, 90th and 99th, and the greatest, in milliseconds.
func percentiles(took []time.Duration) []float64 {
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	found := []float64{}
	for _, share := range []float64{0.5, 0.9, 0.99, 1} {
		if len(took) > 0 {
			found = append(found, float64(took[int(share*float64(len(took)-1))].Microseconds())/1e3)
		}
	}
	return found
}

// recorded returns the events in a file, one a line, as the apiserver holds them.
func recorded(path string) ([]*auditinternal.Event, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := []*auditinternal.Event{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var read auditv1.Event
		if err := json.Unmarshal(lines.Bytes(), &read); err != nil {
			return nil, err
		}
		made := &auditinternal.Event{}
		if err := audit.Scheme.Convert(&read, made, nil); err != nil {
			return nil, err
		}
		found = append(found, made)
	}
	if len(found) == 0 {
		return nil, errors.New(path + ": no events")
	}
	return found, lines.Err()
}

// unique returns the next event in turn with an id and a time of its own; the rest of it is shared, since the backends copy it.
func unique(templates []*auditinternal.Event, run, number int) *auditinternal.Event {
	made := *templates[number%len(templates)]
	made.AuditID = types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", run, number))
	made.StageTimestamp = metav1.NowMicro()
	return &made
}

// cpu returns the seconds that this process has used.
func cpu() float64 {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}
