// Renders a chart as Helm does, with Go's own templates and sprig, the libraries that Helm is made of.
// For tests where no Helm is to be had: no lookup, no tpl, no subcharts, no hooks.
//
//	render CHART RELEASE NAMESPACE [VALUES.yaml ...]
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type tree = map[string]interface{}

func main() {
	if len(os.Args) < 4 {
		fail(fmt.Errorf("usage: render CHART RELEASE NAMESPACE [VALUES.yaml ...]"))
	}
	folder := os.Args[1]
	chart, values := read(filepath.Join(folder, "Chart.yaml")), read(filepath.Join(folder, "values.yaml"))
	for _, file := range os.Args[4:] {
		merge(values, read(file))
	}
	data := tree{
		"Values":  values,
		"Release": tree{"Name": os.Args[2], "Namespace": os.Args[3], "Service": "Helm"},
		"Chart": tree{
			"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"],
		},
	}
	all, names := parsed(filepath.Join(folder, "templates"))
	for _, name := range names {
		var made bytes.Buffer
		if err := all.ExecuteTemplate(&made, name, data); err != nil {
			fail(err)
		}
		fmt.Printf("---\n# Source: %s\n%s\n", name, made.String())
	}
}

func parsed(folder string) (*template.Template, []string) {
	all := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["include"] = func(name string, data interface{}) (string, error) {
		var made strings.Builder
		err := all.ExecuteTemplate(&made, name, data)
		return made.String(), err
	}
	functions["toYaml"] = func(value interface{}) (string, error) {
		var made bytes.Buffer
		encoder := yaml.NewEncoder(&made)
		encoder.SetIndent(2)
		err := encoder.Encode(value)
		return strings.TrimSuffix(made.String(), "\n"), err
	}
	all.Funcs(functions)
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	fail(err)
	sort.Strings(files)
	names := []string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		fail(err)
		template.Must(all.New(filepath.Base(file)).Parse(string(text)))
		if !strings.HasPrefix(filepath.Base(file), "_") {
			names = append(names, filepath.Base(file))
		}
	}
	return all, names
}

func read(file string) tree {
	text, err := os.ReadFile(file)
	fail(err)
	found := tree{}
	fail(yaml.Unmarshal(text, &found))
	return found
}

func merge(into, from tree) {
	for key, value := range from {
		old, both := into[key].(tree)
		deeper, also := value.(tree)
		if both && also {
			merge(old, deeper)
		} else {
			into[key] = value
		}
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
