// Command auditsink delivers audit events to AuditSinks with the code that kube-apiserver had for that until version 1.18:
// k8s.io/apiserver/plugin/pkg/audit/dynamic, with its own webhook client, and the API's own validation and defaults.
//
// Each line of the input is {"sinks": [<AuditSink>, …], "events": [<audit.k8s.io/v1 Event>, …]}. The URL of each sink is
// replaced by that of a server here. The line of output for it is {"refused": [[<field>, …], …], "delivered": {"<name>":
// [<item>, …]}}: the fields that the API refuses of each sink, and the items that each sink without such a field got.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	auditregv1alpha1 "k8s.io/api/auditregistration/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	"k8s.io/apiserver/plugin/pkg/audit/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/apis/auditregistration"
	internalv1alpha1 "k8s.io/kubernetes/pkg/apis/auditregistration/v1alpha1"
	"k8s.io/kubernetes/pkg/apis/auditregistration/validation"
)

type task struct {
	Sinks  []json.RawMessage `json:"sinks"`
	Events []auditv1.Event   `json:"events"`
}

type answer struct {
	Refused   [][]string                   `json:"refused"`
	Delivered map[string][]json.RawMessage `json:"delivered"`
}

var scheme = runtime.NewScheme()

// refused returns the sink with the API's defaults, and the fields that the API refuses.
func refused(text []byte) (*auditregv1alpha1.AuditSink, []string) {
	sink := &auditregv1alpha1.AuditSink{}
	if err := json.Unmarshal(text, sink); err != nil {
		return nil, []string{err.Error()}
	}
	given := sink.DeepCopy()
	scheme.Default(sink)
	internal := &auditregistration.AuditSink{}
	if err := scheme.Convert(sink, internal, nil); err != nil {
		log.Fatal(err)
	}
	fields := []string{}
	for _, each := range validation.ValidateAuditSink(internal) {
		fields = append(fields, each.Field)
	}
	return given, fields
}

type downstream struct {
	sync.Mutex
	got map[string][]json.RawMessage
}

func (d *downstream) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		log.Fatal(err)
	}
	list := struct{ Items []json.RawMessage }{}
	if err := json.Unmarshal(body, &list); err != nil {
		log.Fatal(err)
	}
	d.Lock()
	defer d.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/")
	d.got[name] = append(d.got[name], list.Items...)
}

func delivered(sinks []*auditregv1alpha1.AuditSink, events []*auditinternal.Event) map[string][]json.RawMessage {
	to := &downstream{got: map[string][]json.RawMessage{}}
	server := httptest.NewServer(to)
	defer server.Close()
	client := fake.NewSimpleClientset()
	for _, sink := range sinks {
		url := server.URL + "/" + sink.Name
		sink.UID = types.UID(sink.Name)
		sink.Spec.Webhook.ClientConfig = auditregv1alpha1.WebhookClientConfig{URL: &url}
		_, err := client.AuditregistrationV1alpha1().AuditSinks().Create(context.TODO(), sink, metav1.CreateOptions{})
		if err != nil {
			log.Fatal(err)
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Auditregistration().V1alpha1().AuditSinks()
	backend, err := dynamic.NewBackend(&dynamic.Config{
		Informer: informer,
		// One batch at a time, so that the items are in the order of the events.
		BufferedConfig: &buffered.BatchConfig{BufferSize: 5000, MaxBatchSize: 400, MaxBatchWait: 10 * time.Millisecond},
		EventConfig:    dynamic.EventConfig{Sink: &typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")}},
		WebhookConfig:  dynamic.WebhookConfig{ServiceResolver: webhook.NewDefaultServiceResolver()},
	})
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan struct{})
	if err := backend.Run(stop); err != nil {
		log.Fatal(err)
	}
	informers := make(chan struct{})
	factory.Start(informers)
	cache.WaitForCacheSync(informers, informer.Informer().HasSynced)
	started := reflect.ValueOf(backend).MethodByName("GetDelegates") // its type is not exported
	for started.Call(nil)[0].Len() < len(sinks) {
		time.Sleep(time.Millisecond)
	}
	backend.ProcessEvents(events...)
	close(stop)
	backend.Shutdown()
	close(informers)
	return to.got
}

func answered(t task) answer {
	result := answer{Refused: [][]string{}}
	good := []*auditregv1alpha1.AuditSink{}
	for _, text := range t.Sinks {
		sink, fields := refused(text)
		result.Refused = append(result.Refused, fields)
		if len(fields) == 0 {
			good = append(good, sink)
		}
	}
	events := make([]*auditinternal.Event, len(t.Events))
	for i := range t.Events {
		events[i] = &auditinternal.Event{}
		if err := audit.Scheme.Convert(&t.Events[i], events[i], nil); err != nil {
			log.Fatal(err)
		}
	}
	if len(events) > 0 {
		result.Delivered = delivered(good, events)
	}
	return result
}

func main() {
	if err := internalv1alpha1.AddToScheme(scheme); err != nil {
		log.Fatal(err)
	}
	if err := auditregistration.AddToScheme(scheme); err != nil {
		log.Fatal(err)
	}
	decoder, encoder := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for decoder.More() {
		var t task
		if err := decoder.Decode(&t); err != nil {
			log.Fatal(err)
		}
		if err := encoder.Encode(answered(t)); err != nil {
			log.Fatal(err)
		}
	}
}
