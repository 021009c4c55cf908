// Command judge finds audit events with kube-apiserver's own types, and prints what identifies each.
//
// The first line of the input is a list of criteria. Each further line is the path of a file with an Event on each line.
// Each line of the output is the index of the criteria that an event matches, and the event's auditID, stage and time,
// with tabs between them. With -count, only the number of matching events is printed for each of the criteria.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"slices"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	kjson "sigs.k8s.io/json"
)

type resource struct {
	Name  string  `json:"name"`
	Group *string `json:"group"`
}

type criteria struct {
	Users        []string       `json:"users"`
	Impersonated []string       `json:"impersonated"`
	Verbs        []string       `json:"verbs"`
	Resources    []resource     `json:"resources"`
	Namespaces   []string       `json:"namespaces"`
	Names        []string       `json:"names"`
	Subresources []string       `json:"subresources"`
	Codes        [][2]int32     `json:"codes"`
	Failed       bool           `json:"failed"`
	Sources      []netip.Prefix `json:"source_ips"`
	Stages       []string       `json:"stages"`
	Since        *time.Time     `json:"since"`
	Until        *time.Time     `json:"until"`
}

func oneOf(values []string, value string) bool {
	return len(values) == 0 || slices.Contains(values, value)
}

func (c criteria) matches(event *auditv1.Event) bool {
	object := auditv1.ObjectReference{}
	if event.ObjectRef != nil {
		object = *event.ObjectRef
	}
	impersonated := ""
	if event.ImpersonatedUser != nil {
		impersonated = event.ImpersonatedUser.Username
	}
	return oneOf(c.Verbs, event.Verb) && oneOf(c.Users, event.User.Username) && oneOf(c.Impersonated, impersonated) &&
		oneOf(c.Namespaces, object.Namespace) && oneOf(c.Names, object.Name) &&
		oneOf(c.Subresources, object.Subresource) && oneOf(c.Stages, string(event.Stage)) &&
		c.hasResource(object) && c.hasCode(event) && c.hasSource(event) && c.within(event)
}

func (c criteria) hasResource(object auditv1.ObjectReference) bool {
	return len(c.Resources) == 0 || slices.ContainsFunc(c.Resources, func(each resource) bool {
		return each.Name == object.Resource && (each.Group == nil || *each.Group == object.APIGroup)
	})
}

func (c criteria) hasCode(event *auditv1.Event) bool {
	code := int32(0)
	if event.ResponseStatus != nil {
		code = event.ResponseStatus.Code
	}
	if c.Failed && event.Stage != auditv1.StagePanic && code < 400 {
		return false
	}
	return len(c.Codes) == 0 || slices.ContainsFunc(c.Codes, func(each [2]int32) bool {
		return each[0] <= code && code <= each[1]
	})
}

func (c criteria) hasSource(event *auditv1.Event) bool {
	return len(c.Sources) == 0 || slices.ContainsFunc(event.SourceIPs, func(text string) bool {
		address, err := netip.ParseAddr(text)
		return err == nil && slices.ContainsFunc(c.Sources, func(each netip.Prefix) bool { return each.Contains(address) })
	})
}

func (c criteria) within(event *auditv1.Event) bool {
	if c.Since == nil && c.Until == nil {
		return true
	}
	at := event.StageTimestamp.Time
	if at.IsZero() {
		at = event.RequestReceivedTimestamp.Time
	}
	return !at.IsZero() && (c.Since == nil || !at.Before(*c.Since)) && (c.Until == nil || at.Before(*c.Until))
}

func search(path string, found func(*auditv1.Event)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		event := auditv1.Event{}
		if len(line) > 0 && kjson.UnmarshalCaseSensitivePreserveInts(line, &event) == nil {
			found(&event)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func main() {
	only := flag.Bool("count", false, "print only the numbers of events")
	flag.Parse()
	input, output := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	input.Buffer(nil, 1<<20)
	defer output.Flush()
	var all []criteria
	if !input.Scan() {
		log.Fatal("expected a list of criteria")
	}
	if err := json.Unmarshal(input.Bytes(), &all); err != nil {
		log.Fatal(err)
	}
	counts := make([]int, len(all))
	for input.Scan() {
		err := search(input.Text(), func(event *auditv1.Event) {
			for index, c := range all {
				if !c.matches(event) {
					continue
				}
				counts[index]++
				if !*only {
					at := event.StageTimestamp.UTC().Format(time.RFC3339Nano)
					fmt.Fprintf(output, "%d\t%s\t%s\t%s\n", index, event.AuditID, event.Stage, at)
				}
			}
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	for _, count := range counts {
		if *only {
			fmt.Fprintln(output, count)
		}
	}
}
