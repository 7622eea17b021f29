package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const modulePath = "github.com/kwatchman/kwatchman/test/cluster"

// findSource returns the folder of this module: the control plane is built
// there, at the versions that its go.mod pins. It looks upwards from the
// current folder, then from the launcher's own binary.
func findSource() (string, error) {
	var from []string
	if wd, err := os.Getwd(); err == nil {
		from = append(from, wd)
	}
	if exe, err := os.Executable(); err == nil {
		from = append(from, filepath.Dir(exe))
	}
	for _, dir := range from {
		for {
			for _, candidate := range []string{dir, filepath.Join(dir, "test", "cluster")} {
				if isSource(candidate) {
					return candidate, nil
				}
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return "", fmt.Errorf("find the sources of %s: not above the current folder; run cluster inside the repository", modulePath)
}

func isSource(dir string) bool {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.HasPrefix(string(mod), "module "+modulePath+"\n")
}

var kubernetesLine = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)`)

// kubernetesVersion reads the pinned version from go.mod, so that it is
// written down once: whole, major, minor.
func kubernetesVersion(mod []byte) (version, major, minor string, err error) {
	m := kubernetesLine.FindSubmatch(mod)
	if m == nil {
		return "", "", "", fmt.Errorf("go.mod of %s does not require k8s.io/kubernetes", modulePath)
	}
	return string(m[1]), string(m[2]), string(m[3]), nil
}
