// Read the output of auditsplit flags --format with the installers' own Go types, which refuse unknown fields.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	kops "k8s.io/kops/pkg/apis/kops/v1alpha2"
	kind "sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

// What a user merges into a cluster's spec.
type part struct {
	Spec kops.ClusterSpec `json:"spec"`
}

const machine = `version: v1alpha1
machine:
  type: controlplane
cluster:
  controlPlane:
    endpoint: https://192.0.2.1:6443
`

func read(form string, text []byte) (any, error) {
	switch form {
	case "kops":
		var spec part
		return &spec, yaml.UnmarshalStrict(text, &spec)
	case "kind":
		var cluster kind.Cluster
		return &cluster, yaml.UnmarshalStrict(text, &cluster)
	case "talos":
		patch, err := configpatcher.LoadPatch(text)
		if err != nil {
			return nil, err
		}
		provider, err := configloader.NewFromBytes([]byte(machine))
		if err != nil {
			return nil, err
		}
		output, err := configpatcher.Apply(configpatcher.WithConfig(provider), []configpatcher.Patch{patch})
		if err != nil {
			return nil, err
		}
		patched, err := output.Bytes()
		if err != nil {
			return nil, err
		}
		var document map[string]any
		return &document, yaml.Unmarshal(patched, &document)
	}
	return nil, fmt.Errorf("write kops, kind or talos, not %q", form)
}

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	document, err := read(os.Args[1], text)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(document)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
