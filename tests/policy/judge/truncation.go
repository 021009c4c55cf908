package main

import (
	"log"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/plugin/pkg/audit/truncate"

	"k8s.io/apimachinery/pkg/runtime"
)

type truncation struct {
	Events       []auditv1.Event `json:"events"`
	MaxEventSize int64           `json:"max_event_size"`
	MaxBatchSize int64           `json:"max_batch_size"`
}

// truncated has the events as lines of the log: as they were, and in the batches that the truncating backend passed on.
type truncated struct {
	Lines   []string   `json:"lines"`
	Batches [][]string `json:"batches"`
}

type collector struct{ batches [][]string }

func (c *collector) ProcessEvents(events ...*auditinternal.Event) bool {
	c.batches = append(c.batches, lines(events))
	return true
}
func (*collector) Run(<-chan struct{}) error { return nil }
func (*collector) Shutdown()                 {}
func (*collector) String() string            { return "collector" }

func lines(events []*auditinternal.Event) []string {
	codec := audit.Codecs.LegacyCodec(auditv1.SchemeGroupVersion)
	found := []string{}
	for _, event := range events {
		line, err := runtime.Encode(codec, event)
		if err != nil {
			log.Fatal(err)
		}
		found = append(found, string(line))
	}
	return found
}

func truncating(t truncation) answer {
	events := make([]*auditinternal.Event, len(t.Events))
	for i := range t.Events {
		events[i] = &auditinternal.Event{}
		if err := audit.Scheme.Convert(&t.Events[i], events[i], nil); err != nil {
			log.Fatal(err)
		}
	}
	before := lines(events)
	to := &collector{batches: [][]string{}}
	config := truncate.Config{MaxEventSize: t.MaxEventSize, MaxBatchSize: t.MaxBatchSize}
	truncate.NewBackend(to, config, auditv1.SchemeGroupVersion).ProcessEvents(events...)
	return answer{truncated: truncated{Lines: before, Batches: to.batches}}
}
