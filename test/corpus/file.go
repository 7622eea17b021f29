package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// recorded are the sections that a recording writes; what else a file has stays.
var recorded = []string{"event", "settings", "old", "new"}

type section struct{ name, text string }

func (p pair) write(dir, name, comment string) error {
	file := filepath.Join(dir, name)
	existing, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	_, kept := splitArchive(string(existing))
	texts := map[string]string{}
	for part, v := range map[string]any{"event": p.attributes, "old": p.old, "new": p.new} {
		if texts[part], err = document(v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	out := comment
	add := func(name, text string) {
		if text != "" {
			out += "-- " + name + " --\n" + text
		}
	}
	for _, part := range recorded {
		if part == "settings" {
			i := slices.IndexFunc(kept, func(s section) bool { return s.name == part })
			if i >= 0 {
				add(part, kept[i].text)
			}
			continue
		}
		add(part, texts[part])
	}
	for _, s := range kept {
		if !slices.Contains(recorded, s.name) {
			add(s.name, s.text)
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(out), 0o600)
}

// document is a manifest as YAML; none is empty.
func document(v any) (string, error) {
	if v == nil {
		return "", nil
	}
	out, err := yaml.Marshal(v)
	return string(out), err
}

// splitArchive reads the txtar format: a comment, then sections that each begin
// with a line "-- name --".
func splitArchive(text string) (comment string, sections []section) {
	for line := range strings.Lines(text) {
		marker := strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(marker, "-- ") && strings.HasSuffix(marker, " --") {
			sections = append(sections, section{name: marker[len("-- ") : len(marker)-len(" --")]})
			continue
		}
		if len(sections) == 0 {
			comment += line
			continue
		}
		sections[len(sections)-1].text += line
	}
	return comment, sections
}
