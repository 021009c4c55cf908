package main

import (
	"bytes"
	"encoding/json"
)

const version = "audit.k8s.io/v1"

// typeMeta is read first, as Kubernetes does. The kind decides the type of the rest.
type typeMeta struct {
	Kind       *string          `json:"kind"`
	APIVersion *string          `json:"apiVersion"`
	Items      *json.RawMessage `json:"items"`
	AuditID    json.RawMessage  `json:"auditID"`
	Stage      json.RawMessage  `json:"stage"`
	User       json.RawMessage  `json:"user"`
}

type list struct {
	Items *[]json.RawMessage `json:"items"`
}

type user struct {
	Username *string `json:"username"`
}

type head struct {
	Kind                     json.RawMessage `json:"kind"`
	APIVersion               json.RawMessage `json:"apiVersion"`
	Level                    *string         `json:"level"`
	Stage                    *string         `json:"stage"`
	Verb                     *string         `json:"verb"`
	User                     *user           `json:"user"`
	ImpersonatedUser         *user           `json:"impersonatedUser"`
	RequestReceivedTimestamp *string         `json:"requestReceivedTimestamp"`
	StageTimestamp           *string         `json:"stageTimestamp"`
	ObjectRef                *struct {
		Namespace   *string `json:"namespace"`
		Resource    *string `json:"resource"`
		Subresource *string `json:"subresource"`
	} `json:"objectRef"`
	Annotations *struct {
		Truncated *string `json:"audit.k8s.io/truncated"`
	} `json:"annotations"`
}

// folded returns what encoding/json makes of the body with structs.
func folded(body []byte) *verdict {
	var meta typeMeta
	if !isObject(body) || json.Unmarshal(body, &meta) != nil {
		return &verdict{Refused: true}
	}
	facts := meta.AuditID != nil || meta.Stage != nil || meta.User != nil
	switch kindOf(meta.Kind, meta.APIVersion, meta.Items != nil, facts) {
	case "Event":
		return split([]json.RawMessage{bytes.TrimSpace(body)}, severalLines(body), foldedHead)
	case "EventList":
		var found list
		if json.Unmarshal(body, &found) != nil {
			return &verdict{Refused: true}
		}
		if found.Items == nil {
			return &verdict{}
		}
		return split(*found.Items, severalLines(body), foldedHead)
	}
	return &verdict{Refused: true}
}

// kindOf returns which kind of body of audit.k8s.io/v1 it is, and "" for any other body.
func kindOf(kind, apiVersion *string, items, facts bool) string {
	isVersion := apiVersion != nil && *apiVersion == version
	isEvent := kind != nil && *kind == "Event"
	if kind == nil && !items {
		isEvent = isVersion || facts
	}
	switch {
	case isEvent && (isVersion || apiVersion == nil):
		return "Event"
	case kind != nil && *kind == "EventList" && isVersion:
		return "EventList"
	}
	return ""
}

func foldedHead(item json.RawMessage) (map[string]string, bool) {
	var h head
	if json.Unmarshal(item, &h) != nil || !isWord(h.Kind, "Event") || !isWord(h.APIVersion, version) {
		return nil, false
	}
	found := map[string]string{}
	put := func(name string, value *string) {
		if value != nil {
			found[name] = *value
		}
	}
	put("level", h.Level)
	put("stage", h.Stage)
	put("verb", h.Verb)
	put("requestReceivedTimestamp", h.RequestReceivedTimestamp)
	put("stageTimestamp", h.StageTimestamp)
	if h.User != nil {
		put("user.username", h.User.Username)
	}
	if h.ImpersonatedUser != nil {
		put("impersonatedUser.username", h.ImpersonatedUser.Username)
	}
	if h.ObjectRef != nil {
		put("objectRef.namespace", h.ObjectRef.Namespace)
		put("objectRef.resource", h.ObjectRef.Resource)
		put("objectRef.subresource", h.ObjectRef.Subresource)
	}
	if h.Annotations != nil {
		put("annotations.audit.k8s.io/truncated", h.Annotations.Truncated)
	}
	return found, true
}

// isWord tells whether a field is absent or is that string.
func isWord(raw json.RawMessage, word string) bool {
	var value *string
	return raw == nil || json.Unmarshal(raw, &value) == nil && value != nil && *value == word
}

func isObject(body []byte) bool {
	return bytes.TrimLeft(body, " \t\r\n")[0] == '{'
}
