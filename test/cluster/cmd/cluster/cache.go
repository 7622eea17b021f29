package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// program is one binary of the cache and the package it is built from.
type program struct{ name, pkg string }

var (
	controlPlaneProgram      = program{"controlplane", "./cmd/controlplane"}
	controllerManagerProgram = program{"controller-manager", "./cmd/controller-manager"}
	kubectlProgram           = program{"kubectl", "."}
	nodeProgram              = program{"node", "."}
	pauseProgram             = program{"pause", "./pause"}
	coreDNSProgram           = program{"coredns", "."}
)

// servers share one module, and so one folder of the cache.
func servers() []program { return []program{controlPlaneProgram, controllerManagerProgram} }

// cache is the folder of the binaries that belong to one state of the sources.
// It lies outside the tree, so that every checkout uses the same build.
type cache struct {
	dir     string
	source  string
	version string   // of Kubernetes, such as v1.37.2
	flags   []string // of go build
}

func (c *cache) path(p program) string { return filepath.Join(c.dir, p.name) }

func (c *cache) has(p program) bool {
	info, err := os.Stat(c.path(p))
	return err == nil && info.Mode().IsRegular()
}

// openCache finds the servers' folder for the sources as they are now; it builds
// nothing.
func openCache(ctx context.Context) (*cache, error) {
	source, err := findSource()
	if err != nil {
		return nil, err
	}
	return openCacheOf(ctx, source, source, servers())
}

// openModuleCache is openCache for the programs of a module in a folder below.
func openModuleCache(ctx context.Context, folder string, programs ...program) (*cache, error) {
	source, err := findSource()
	if err != nil {
		return nil, err
	}
	return openCacheOf(ctx, source, filepath.Join(source, folder), programs)
}

// openCacheOf finds the folder of the programs of the module in source; the
// version is the one that the module in main requires.
func openCacheOf(ctx context.Context, main, source string, programs []program) (*cache, error) {
	mod, err := os.ReadFile(filepath.Join(main, "go.mod"))
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	version, major, minor, err := kubernetesVersion(mod)
	if err != nil {
		return nil, err
	}
	goVersion, err := goCommand(ctx, source, "env", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("ask the Go command for its version: %w", err)
	}
	flags := buildFlags(version, major, minor)
	key, err := cacheKey(source, programs, append([]string{
		strings.TrimSpace(string(goVersion)), runtime.GOOS, runtime.GOARCH,
	}, flags...))
	if err != nil {
		return nil, err
	}
	root, err := cacheRoot()
	if err != nil {
		return nil, err
	}
	return &cache{dir: filepath.Join(root, key), source: source, version: version, flags: flags}, nil
}

func cacheRoot() (string, error) {
	if dir := os.Getenv("KWATCHMAN_CLUSTER_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir := os.Getenv("XDG_CACHE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder: %w; set KWATCHMAN_CLUSTER_CACHE", err)
		}
		dir = filepath.Join(home, ".cache")
	}
	return filepath.Join(dir, "kwatchman", "cluster"), nil
}

// buildFlags must stay the same for every build: Go's own build cache is keyed
// by them, and a miss costs minutes.
func buildFlags(version, major, minor string) []string {
	const variable = " -X k8s.io/component-base/version."
	return []string{
		"-buildvcs=false", "-trimpath", "-ldflags",
		"-s -w" + variable + "gitVersion=" + version + variable + "gitMajor=" + major + variable + "gitMinor=" + minor,
	}
}

// goCommand is the Go command in the module's folder, free of settings that
// would change what is built. GO names another one than that of the PATH.
func goCommand(ctx context.Context, source string, args ...string) *exec.Cmd {
	name := os.Getenv("GO")
	if name == "" {
		name = "go"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=",
		"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	return cmd
}

// cacheKey is a hash of everything that decides what the binaries are: the
// module's versions, the sources of the commands, and settings.
func cacheKey(source string, programs []program, settings []string) (string, error) {
	h := sha256.New()
	files := []string{"go.mod", "go.sum"}
	for _, p := range programs {
		sources, err := filepath.Glob(filepath.Join(source, p.pkg, "*.go"))
		if err != nil {
			return "", fmt.Errorf("hash the sources: %w", err)
		}
		for _, file := range sources {
			files = append(files, filepath.Join(p.pkg, filepath.Base(file)))
		}
	}
	for _, file := range files {
		if err := hashFile(h, source, file); err != nil {
			return "", fmt.Errorf("hash the sources: %w", err)
		}
	}
	fmt.Fprintf(h, "%q", settings)
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

func hashFile(h io.Writer, dir, name string) error {
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	// The length keeps two files from passing for one.
	fmt.Fprintf(h, "%s %d\n", filepath.ToSlash(name), len(content))
	_, err = h.Write(content)
	return err
}
