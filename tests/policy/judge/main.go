// Command judge reads audit policies and requests as kube-apiserver does, with its own code, and prints the outcome.
//
// Each line of the input is a task. A task has a policy and requests that are evaluated by it, or URLs, or events that
// are truncated:
//
//	{"policy": "<base64>", "requests": [{"user": "alice", "groups": ["dev"], "verb": "get", …}, …]}
//	{"urls": [{"method": "GET", "uri": "/api/v1/pods"}, …]}
//	{"events": [<audit.k8s.io/v1 Event>, …], "max_event_size": 100, "max_batch_size": 1000}
//
// Each line of the output is the answer to a task.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"net/url"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/klog/v2"
)

type task struct {
	Policy   []byte    `json:"policy"`
	Requests []attrs   `json:"requests"`
	URLs     []rawURLs `json:"urls"`
	truncation
}

type attrs struct {
	User        *string  `json:"user"`
	Groups      []string `json:"groups"`
	Verb        string   `json:"verb"`
	IsResource  bool     `json:"is_resource"`
	APIGroup    string   `json:"api_group"`
	Resource    string   `json:"resource"`
	Subresource string   `json:"subresource"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Path        string   `json:"path"`
}

type rawURLs struct {
	Method string `json:"method"`
	URI    string `json:"uri"`
}

type decision struct {
	Level             string   `json:"level"`
	OmitStages        []string `json:"omit_stages"`
	OmitManagedFields bool     `json:"omit_managed_fields"`
}

type info struct {
	attrs
	URI    string `json:"uri"`
	Failed string `json:"failed"`
}

type answer struct {
	Refused   string     `json:"refused"`
	Paths     []string   `json:"paths"`
	Warnings  []string   `json:"warnings"`
	Decisions []decision `json:"decisions"`
	Infos     []info     `json:"infos"`
	truncated
}

func warnings(text []byte) []string {
	decoder := serializer.NewCodecFactory(audit.Scheme, serializer.EnableStrict).UniversalDecoder()
	_, _, err := decoder.Decode(text, nil, &auditinternal.Policy{})
	strict, ok := runtime.AsStrictDecodingError(err)
	if !ok {
		return nil
	}
	found := []string{}
	for _, each := range strict.Errors() {
		found = append(found, each.Error())
	}
	return found
}

func paths(err error) []string {
	var all utilerrors.Aggregate
	found := []string{}
	if errors.As(err, &all) {
		for _, each := range all.Errors() {
			var one *field.Error
			if errors.As(each, &one) {
				found = append(found, one.Field)
			}
		}
	}
	return found
}

func judged(t task) answer {
	loaded, err := policy.LoadPolicyFromBytes(t.Policy)
	if err != nil {
		return answer{Refused: err.Error(), Paths: paths(err)}
	}
	evaluator := policy.NewPolicyRuleEvaluator(loaded)
	result := answer{Warnings: warnings(t.Policy)}
	for _, each := range t.Requests {
		record := authorizer.AttributesRecord{
			Verb: each.Verb, Namespace: each.Namespace, APIGroup: each.APIGroup, Resource: each.Resource,
			Subresource: each.Subresource, Name: each.Name, ResourceRequest: each.IsResource, Path: each.Path,
		}
		if each.User != nil {
			record.User = &user.DefaultInfo{Name: *each.User, Groups: each.Groups}
		}
		config := evaluator.EvaluatePolicyRule(record)
		stages := sets.New[string]()
		for _, stage := range config.OmitStages {
			stages.Insert(string(stage))
		}
		result.Decisions = append(result.Decisions, decision{string(config.Level), sets.List(stages), config.OmitManagedFields})
	}
	return result
}

func parsed(raw rawURLs) info {
	target, err := url.ParseRequestURI(raw.URI)
	if err != nil {
		return info{Failed: err.Error()}
	}
	factory := request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	found, err := factory.NewRequestInfo(&http.Request{Method: raw.Method, URL: target})
	if err != nil {
		return info{Failed: err.Error()}
	}
	return info{URI: target.RequestURI(), attrs: attrs{
		Verb: found.Verb, IsResource: found.IsResourceRequest, APIGroup: found.APIGroup, Resource: found.Resource,
		Subresource: found.Subresource, Namespace: found.Namespace, Name: found.Name, Path: found.Path,
	}}
}

func main() {
	flags := flag.NewFlagSet("klog", flag.ExitOnError)
	klog.InitFlags(flags)
	if err := flags.Parse([]string{"-logtostderr=false", "-stderrthreshold=FATAL", "-alsologtostderr=false"}); err != nil {
		log.Fatal(err)
	}
	klog.SetOutput(nowhere{})
	decoder, encoder := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for decoder.More() {
		var t task
		if err := decoder.Decode(&t); err != nil {
			log.Fatal(err)
		}
		result := answer{}
		if t.Policy != nil {
			result = judged(t)
		}
		if t.Events != nil {
			result = truncating(t.truncation)
		}
		for _, each := range t.URLs {
			result.Infos = append(result.Infos, parsed(each))
		}
		if err := encoder.Encode(result); err != nil {
			log.Fatal(err)
		}
	}
}

type nowhere struct{}

func (nowhere) Write(text []byte) (int, error) { return len(text), nil }
