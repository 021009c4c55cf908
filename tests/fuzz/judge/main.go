// The judge of the fuzzer: what Go's encoding/json makes of a body.
//
// Each line of standard input is a body in base64. The answer is a line of JSON, with two verdicts on a body that Go
// accepts as JSON. "folded" is encoding/json as it is: names match in any case, and a repeated object is merged.
// "exact" reads with encoding/json too, but applies auditsplit's deliberate differences. "reasons" names those that
// were met. See ../compare.py for why auditsplit differs.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
)

type verdict struct {
	Refused bool     `json:"refused"`
	Events  []event  `json:"events"`
	Bad     [][]byte `json:"bad"`
}

type event struct {
	Stored []byte            `json:"stored"`
	Head   map[string]string `json:"head"`
}

type answer struct {
	Valid   bool     `json:"valid"`
	Folded  *verdict `json:"folded"`
	Exact   *verdict `json:"exact"`
	Reasons []string `json:"reasons"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		body, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
		if err != nil {
			panic(err)
		}
		if err := out.Encode(judged(body)); err != nil {
			panic(err)
		}
	}
}

func judged(body []byte) answer {
	if !json.Valid(body) {
		return answer{}
	}
	exact := reader{reasons: map[string]bool{}}
	found := answer{Valid: true, Folded: folded(body), Exact: exact.body(body)}
	for reason := range exact.reasons {
		found.Reasons = append(found.Reasons, reason)
	}
	return found
}

// split applies what both verdicts share: an item is an object with a member, and is stored as one line.
func split(items []json.RawMessage, several bool, head func(json.RawMessage) (map[string]string, bool)) *verdict {
	result := &verdict{}
	for _, item := range items {
		fields, ok := map[string]string(nil), false
		if hasMember(item) {
			fields, ok = head(item)
		}
		if !ok {
			result.Bad = append(result.Bad, item)
			continue
		}
		stored := []byte(item)
		if several && bytes.ContainsAny(item, "\r\n") {
			var line bytes.Buffer
			if err := json.Compact(&line, item); err != nil {
				panic(err)
			}
			stored = line.Bytes()
		}
		result.Events = append(result.Events, event{stored, fields})
	}
	return result
}

func hasMember(item []byte) bool {
	return len(item) > 1 && item[0] == '{' && bytes.TrimLeft(item[1:], " \t\r\n")[0] == '"'
}

// severalLines tells whether a body has a line break other than one at its end.
func severalLines(body []byte) bool {
	at := bytes.IndexByte(body, '\n')
	return at >= 0 && at != len(body)-1 || bytes.IndexByte(body, '\r') >= 0
}
