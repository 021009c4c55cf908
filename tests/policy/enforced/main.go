// Command enforced applies an audit policy to recorded events with the code that kube-apiserver had for that until
// version 1.18: k8s.io/apiserver/plugin/pkg/audit/dynamic/enforced.
//
// Each line of the input is {"policy": "<the policy's text>", "events": [<audit.k8s.io/v1 Event>, …]}. The line of
// output for it has, for each event, the event that was left of it, or null.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/plugin/pkg/audit/dynamic/enforced"
)

type task struct {
	Policy string          `json:"policy"`
	Events []auditv1.Event `json:"events"`
}

type last struct{ event *auditinternal.Event }

func (l *last) ProcessEvents(events ...*auditinternal.Event) bool {
	l.event = events[0]
	return true
}
func (*last) Run(<-chan struct{}) error { return nil }
func (*last) Shutdown()                 {}
func (*last) String() string            { return "last" }

func answer(t task) []*auditv1.Event {
	loaded, err := policy.LoadPolicyFromBytes([]byte(t.Policy))
	if err != nil {
		log.Fatal(err)
	}
	left := make([]*auditv1.Event, len(t.Events))
	for i := range t.Events {
		event := &auditinternal.Event{}
		if err := audit.Scheme.Convert(&t.Events[i], event, nil); err != nil {
			log.Fatal(err)
		}
		sink := &last{}
		enforced.NewBackend(sink, policy.NewChecker(loaded)).ProcessEvents(event)
		if sink.event != nil {
			left[i] = &auditv1.Event{}
			if err := audit.Scheme.Convert(sink.event, left[i], nil); err != nil {
				log.Fatal(err)
			}
		}
	}
	return left
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	decoder, encoder := json.NewDecoder(lines), json.NewEncoder(os.Stdout)
	for decoder.More() {
		var t task
		if err := decoder.Decode(&t); err != nil {
			log.Fatal(err)
		}
		if err := encoder.Encode(answer(t)); err != nil {
			log.Fatal(err)
		}
	}
}
