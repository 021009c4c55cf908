package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

const (
	otherCase = "name in another case"
	twice     = "name twice"
	notUTF8   = "field not UTF-8"
	noItems   = "list without items"
)

var (
	outside = map[string]any{"kind": nil, "apiVersion": nil, "items": nil, "auditID": nil, "stage": nil, "user": nil}
	person  = map[string]any{"username": nil}
	inside  = map[string]any{
		"kind": nil, "apiVersion": nil, "level": nil, "stage": nil, "verb": nil, "requestReceivedTimestamp": nil,
		"stageTimestamp": nil, "user": person, "impersonatedUser": person,
		"objectRef":   map[string]any{"namespace": nil, "resource": nil, "subresource": nil},
		"annotations": map[string]any{"audit.k8s.io/truncated": nil},
	}
)

// reader reads with exact names, and collects where that departs from what structs do.
type reader struct{ reasons map[string]bool }

type member struct {
	name  string
	value json.RawMessage
}

// members returns those members of an object whose names shape has, in their order, repeated ones too.
func (r reader) members(raw []byte, shape map[string]any) []member {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if _, err := decoder.Token(); err != nil {
		panic(err)
	}
	var found []member
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			panic(err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			panic(err)
		}
		name := token.(string)
		if _, known := shape[name]; known {
			if seen[name] {
				r.reasons[twice] = true
			}
			seen[name] = true
			found = append(found, member{name, value})
			continue
		}
		for known := range shape {
			if strings.EqualFold(name, known) {
				r.reasons[otherCase] = true
			}
		}
	}
	return found
}

func (r reader) body(body []byte) *verdict {
	refused := &verdict{Refused: true}
	if !isObject(body) {
		return refused
	}
	var kind, apiVersion *string
	var items json.RawMessage
	facts, seen := false, map[string]bool{}
	for _, m := range r.members(body, outside) {
		switch m.name {
		case "auditID", "stage", "user":
			facts = true
			continue
		case "items":
			items = m.value
		case "kind":
			if !r.text(m.value, &kind) {
				return refused
			}
		case "apiVersion":
			if !r.text(m.value, &apiVersion) {
				return refused
			}
		}
		if seen[m.name] {
			return refused
		}
		seen[m.name] = true
	}
	switch kindOf(kind, apiVersion, items != nil, facts) {
	case "Event":
		return split([]json.RawMessage{bytes.TrimSpace(body)}, severalLines(body), r.head)
	case "EventList":
		if items == nil {
			r.reasons[noItems] = true
			return refused
		}
		var raws []json.RawMessage
		if json.Unmarshal(items, &raws) != nil {
			return refused
		}
		return split(raws, severalLines(body), r.head)
	}
	return refused
}

func (r reader) head(item json.RawMessage) (map[string]string, bool) {
	found := map[string]string{}
	if !r.fields(item, inside, "", found) {
		return nil, false
	}
	for name, word := range map[string]string{"kind": "Event", "apiVersion": version} {
		value, there := found[name]
		if there && value != word {
			return nil, false
		}
		delete(found, name)
	}
	return found, true
}

// fields puts the fields of an object into found, under their paths. It returns whether each has its type.
func (r reader) fields(raw []byte, shape map[string]any, path string, found map[string]string) bool {
	for _, m := range r.members(raw, shape) {
		inner, isStruct := shape[m.name].(map[string]any)
		name := path + m.name
		switch {
		case isStruct:
			for key := range found {
				if strings.HasPrefix(key, name+".") {
					delete(found, key)
				}
			}
			if string(m.value) == "null" {
				continue
			}
			if m.value[0] != '{' || !r.fields(m.value, inner, name+".", found) {
				return false
			}
		default:
			var value *string
			if !r.text(m.value, &value) {
				return false
			}
			delete(found, name)
			if value != nil {
				found[name] = *value
			} else if name == "kind" || name == "apiVersion" {
				found[name] = "" // null is not the word
			}
		}
	}
	return true
}

// text reads a string or null, and returns whether it is one, in UTF-8.
func (r reader) text(raw json.RawMessage, into **string) bool {
	*into = nil
	if json.Unmarshal(raw, into) != nil {
		return false
	}
	if !utf8.Valid(raw) {
		r.reasons[notUTF8] = true
		return false
	}
	return true
}
