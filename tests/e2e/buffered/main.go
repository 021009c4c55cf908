// Command buffered drives kube-apiserver's own audit code, so that the tests can hold this project against it:
//
//	buffered drive SCENARIO.json    events through the buffered and the webhook backend to a receiver; prints counts as JSON
//	buffered load SCENARIO.json     the same with recorded events, buffered or blocking; prints what became of every attempt
//	buffered levels POLICY          the levels that a policy gives the requests on standard input
//	buffered patch PATCH            the pod on standard input, patched as kubeadm patches it
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	"k8s.io/apiserver/plugin/pkg/audit/webhook"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"
)

// Phase is a time with one rate of events.
type Phase struct {
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"`
}

// Scenario is a load, and the settings of the backends that take it.
type Scenario struct {
	Kubeconfig      string  `json:"kubeconfig"`
	InitialBackoffS float64 `json:"initial_backoff_s"`
	BufferSize      int     `json:"buffer_size"`
	BatchMaxSize    int     `json:"batch_max_size"`
	BatchMaxWaitS   float64 `json:"batch_max_wait_s"`
	ThrottleEnable  bool    `json:"throttle_enable"`
	ThrottleQPS     float32 `json:"throttle_qps"`
	ThrottleBurst   int     `json:"throttle_burst"`
	Phases          []Phase `json:"phases"`
	TickS           float64 `json:"tick_s"`
	EventBytes      int     `json:"event_bytes"`

	Events  string `json:"events"`  // of a load: a file with the events, one a line
	Run     int    `json:"run"`     // of a load: a number in every event's id, so that no two loads share one
	Callers int    `json:"callers"` // of a load: so many side by side in blocking mode; 0 is batch mode
}

func main() {
	var answer any
	var err error
	switch os.Args[1] {
	case "drive":
		answer, err = drive(os.Args[2])
	case "load":
		answer, err = load(os.Args[2])
	case "levels":
		answer, err = levels(os.Args[2])
	case "patch":
		answer, err = patch(os.Args[2])
	default:
		err = fmt.Errorf("%s: not one of drive, load, levels, patch", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(answer)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// prepare returns the scenario in a file, and kube-apiserver's webhook backend for it.
func prepare(path string) (*Scenario, audit.Backend, error) {
	var scenario Scenario
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(text, &scenario); err != nil {
		return nil, nil, err
	}
	klog.LogToStderr(false) // the errors are counted; each would print its events
	klog.SetOutput(discard{})
	flags := flag.NewFlagSet("", flag.PanicOnError)
	klog.InitFlags(flags)
	if err := flags.Set("stderrthreshold", "FATAL"); err != nil {
		return nil, nil, err
	}
	retries := webhookutil.DefaultRetryBackoffWithInitialDelay(seconds(scenario.InitialBackoffS))
	sender, err := webhook.NewBackend(scenario.Kubeconfig, auditv1.SchemeGroupVersion, retries, nil)
	return &scenario, sender, err
}

// buffered returns the backend that collects batches for the sender.
func (s *Scenario) buffered(sender audit.Backend) audit.Backend {
	return buffered.NewBackend(sender, buffered.BatchConfig{
		BufferSize:     s.BufferSize,
		MaxBatchSize:   s.BatchMaxSize,
		MaxBatchWait:   seconds(s.BatchMaxWaitS),
		ThrottleEnable: s.ThrottleEnable,
		ThrottleQPS:    s.ThrottleQPS,
		ThrottleBurst:  s.ThrottleBurst,
		AsyncDelegate:  true, // as options.defaultWebhookBatchConfig has it
	})
}

// pace offers a phase's events at its rate, as many at each tick as are due, and counts them.
func (s *Scenario) pace(phase Phase, offered *int, offer, ticked func()) {
	start := time.Now()
	for tick := s.TickS; tick <= phase.Seconds+s.TickS/2; tick += s.TickS {
		time.Sleep(time.Until(start.Add(seconds(tick))))
		for due := int(tick*phase.Rate + 1e-6); *offered < due; *offered++ {
			offer()
		}
		ticked()
	}
}

// drive returns how many events were offered, dropped by each plugin, and what the held ones take of the heap.
func drive(path string) (map[string]float64, error) {
	scenario, sender, err := prepare(path)
	if err != nil {
		return nil, err
	}
	backend := scenario.buffered(sender)
	stop := make(chan struct{})
	before := heap()
	if err := backend.Run(stop); err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "started")
	offered := 0
	start := time.Now()
	for _, phase := range scenario.Phases {
		begun := 0
		scenario.pace(phase, &begun, func() {
			backend.ProcessEvents(event(offered, scenario.EventBytes))
			offered++
		}, func() {})
	}
	held := heap() - before
	close(stop)
	backend.Shutdown()
	counted := dropped()
	counted["offered"], counted["held_heap_bytes"], counted["seconds"] = float64(offered), held, time.Since(start).Seconds()
	return counted, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func heap() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// event returns one of the size that kube-apiserver writes, filled up by an annotation.
func event(number, size int) *auditinternal.Event {
	made := &auditinternal.Event{
		Level: auditinternal.LevelMetadata, AuditID: types.UID(fmt.Sprintf("event-%d", number)), Stage: auditinternal.StageResponseComplete,
		RequestURI: "/api/v1/namespaces/default/pods", Verb: "list",
	}
	if missing := size - 260; missing > 0 {
		made.Annotations = map[string]string{"fill": strings.Repeat("x", missing)}
	}
	return made
}

// dropped returns apiserver_audit_error_total, by plugin.
func dropped() map[string]float64 {
	found := map[string]float64{}
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		panic(err)
	}
	for _, family := range families {
		if family.GetName() != "apiserver_audit_error_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			found[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
		}
	}
	return found
}

// Request is what a policy is asked about.
type Request struct {
	User        string   `json:"user"`
	Groups      []string `json:"groups"`
	Verb        string   `json:"verb"`
	APIGroup    string   `json:"group"`
	Resource    string   `json:"resource"`
	Subresource string   `json:"subresource"`
	Namespace   string   `json:"namespace"`
	Path        string   `json:"path"`
}

// levels returns the level that the policy gives each of the requests, which are JSON on standard input.
func levels(path string) ([]auditinternal.Level, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(text, &auditv1.Policy{}); err != nil { // the apiserver only warns of unknown fields
		return nil, err
	}
	loaded, err := policy.LoadPolicyFromFile(path)
	if err != nil {
		return nil, err
	}
	var requests []Request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		return nil, err
	}
	evaluator := policy.NewPolicyRuleEvaluator(loaded)
	found := []auditinternal.Level{}
	for _, request := range requests {
		found = append(found, evaluator.EvaluatePolicyRule(authorizer.AttributesRecord{
			User: &user.DefaultInfo{Name: request.User, Groups: request.Groups},
			Verb: request.Verb, APIGroup: request.APIGroup, Resource: request.Resource, Subresource: request.Subresource,
			Namespace: request.Namespace, Path: request.Path, ResourceRequest: request.Path == "",
		}).Level)
	}
	return found, nil
}

// patch returns the pod on standard input with the strategic merge patch of the file, as kubeadm applies it.
func patch(path string) (any, error) {
	change, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	change, err = yaml.YAMLToJSONStrict(change)
	if err != nil {
		return nil, err
	}
	pod, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	patched, err := strategicpatch.StrategicMergePatch(pod, change, corev1.Pod{})
	if err != nil {
		return nil, err
	}
	return json.RawMessage(patched), json.Unmarshal(patched, &corev1.Pod{})
}
