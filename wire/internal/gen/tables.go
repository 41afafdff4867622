package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// lines returns the lines of a table without comments.
func lines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if l := sc.Text(); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	return out, nil
}

// genErrors makes liberr's codes, domains and sentences of errors.schema.
func genErrors(dir string) error {
	ls, err := lines(filepath.Join(dir, "errors.schema"))
	if err != nil {
		return err
	}
	o := newOut("errors.schema", "liberr")
	var codes, domains, levels, texts out
	for _, l := range ls {
		w := strings.SplitN(l, " ", 4)
		switch w[0] {
		case "level":
			levels.f("\tLevel%s Level = %s // %s\n", camel(strings.TrimPrefix(w[1], "VIR_ERR_")), w[2], w[1])
		case "domain":
			domains.f("\t%s Domain = %s // %s\n", camel(strings.TrimPrefix(w[1], "VIR_")), w[2], w[1])
		case "number":
			name := camel(strings.TrimPrefix(w[1], "VIR_ERR_"))
			if name == "NoSupport" {
				name = "NoSupportCode" // the constructor has the shorter name
			}
			codes.f("\t%s Code = %s // %s\n", name, w[2], w[1])
			if len(w) == 4 {
				plain, detail, _ := strings.Cut(w[3], "|")
				texts.f("\t%s: {%q, %q},\n", name, plain, detail)
			}
		}
	}
	o.f("// Error levels.\nconst (\n%s)\n\n// Error domains: the part of libvirt that an error comes from.\nconst (\n%s)\n\n// Error codes.\nconst (\n%s)\n\n", levels.String(), domains.String(), codes.String())
	o.f("// sentences holds for each code libvirt's sentence without and with a detail.\nvar sentences = map[Code][2]string{\n%s}\n", texts.String())
	return o.write(filepath.Join(dir, "codes_gen.go"))
}

// genConstants makes package virt of constants.schema.
func genConstants(dir string) error {
	ls, err := lines(filepath.Join(dir, "constants.schema"))
	if err != nil {
		return err
	}
	o := newOut("constants.schema", "virt")
	open := false
	for _, l := range ls {
		w := strings.Fields(l)
		if !strings.HasPrefix(l, " ") {
			if open {
				o.f(")\n\n")
			}
			open = true
			if w[0] == "strings" {
				o.f("// Names of typed parameters, migration parameters and the like.\nconst (\n")
			} else {
				o.f("// %s\nconst (\n", w[1])
			}
			continue
		}
		name := constName(w[0])
		if len(w) == 2 && (w[1][0] == '-' || w[1][0] >= '0' && w[1][0] <= '9') && !strings.Contains(w[1], ".") {
			o.f("\t%s = %s\n", name, w[1])
		} else {
			o.f("\t%s = %q\n", name, strings.Join(w[1:], " "))
		}
	}
	o.f(")\n")
	return o.write(filepath.Join(dir, "constants_gen.go"))
}
