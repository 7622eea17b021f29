package deploy

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/functions/diff"
	functionexec "github.com/kwatchman/kwatchman/functions/exec"
	"github.com/kwatchman/kwatchman/functions/filter"
	"github.com/kwatchman/kwatchman/functions/ignoreevents"
	"github.com/kwatchman/kwatchman/functions/log"
	"github.com/kwatchman/kwatchman/functions/slack"
	"github.com/kwatchman/kwatchman/functions/webhook"
	"github.com/kwatchman/kwatchman/internal/settings"
)

// keysOf are those of the settings of a Config.
func keysOf(t *testing.T, cfg any) []string {
	t.Helper()
	keys := settings.Keys(cfg)
	require.NotEmpty(t, keys)
	return keys
}

// A setting that is new has a value, or this fails.
func TestEverySettingHasAValue(t *testing.T) {
	functions := map[string]any{
		"diff": &diff.Config{}, "exec": &functionexec.Config{}, "filter": &filter.Config{}, "ignoreevents": &ignoreevents.Config{},
		"log": &log.Config{}, "slack": &slack.Config{}, "webhook": &webhook.Config{},
	}
	root := valuesSchema(t)
	assert.ElementsMatch(t, slices.Collect(maps.Keys(functions)), slices.Collect(maps.Keys(at(t, root, "properties", "functions", "properties"))))
	// What is a secret has no value in plain.
	secret := map[string][]string{"slack": {"webhookURL", "token"}, "webhook": {"token"}}
	for name, cfg := range functions {
		keys := keysOf(t, cfg)
		assert.ElementsMatch(t, keys, slices.Collect(maps.Keys(at(t, root, "definitions", name+"Secrets", "properties"))), name)
		plain := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return slices.Contains(secret[name], k) })
		assert.ElementsMatch(t, plain, slices.Collect(maps.Keys(at(t, root, "definitions", name+"Settings", "properties"))), name)
	}

	// These have values of their own at the top, or are what the chart decides.
	own := []string{
		"configFile", "resources", "namespace", "excludeNamespaces", "labelSelector", "fieldSelector", "handlers", "clusterName",
		"kubeconfig", "stateDir", "metricsAddr", "signingKey",
		"lease", "leaseDuration", "leaseIdentity",
	}
	var keys []string
	for _, s := range watcherSettings(t) {
		if !slices.Contains(own, s.Key) {
			keys = append(keys, s.Key)
		}
	}
	assert.ElementsMatch(t, keys, slices.Collect(maps.Keys(at(t, root, "properties", "watcher", "properties", "settings", "properties"))))
}

// watcherSettings are those that the watcher's help lists: nothing but its command
// imports the watcher.
func watcherSettings(t *testing.T) (out []settings.Setting) {
	t.Helper()
	help, err := exec.Command("go", "run", "../../watcher/cmd", "--help").Output()
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^  KW_([A-Z_]+)`).FindAllStringSubmatch(string(help), -1) {
		key := ""
		for i, word := range strings.Split(strings.ToLower(m[1]), "_") {
			if i > 0 {
				word = strings.ToUpper(word[:1]) + word[1:]
			}
			key += word
		}
		out = append(out, settings.Setting{Variable: "KW_" + m[1], Key: key})
	}
	require.NotEmpty(t, out)
	return out
}

// The chart makes the variable's name from the key.
func TestEveryValueReachesTheVariableOfItsSetting(t *testing.T) {
	for name, cfg := range map[string]any{
		"diff": &diff.Config{}, "exec": &functionexec.Config{}, "filter": &filter.Config{}, "ignoreevents": &ignoreevents.Config{},
		"log": &log.Config{}, "slack": &slack.Config{}, "webhook": &webhook.Config{},
	} {
		prefix := strings.ToUpper(name)
		all, err := settings.Of(prefix, cfg)
		require.NoError(t, err)
		args := []string{"--set", "chain={" + name + "}"}
		for _, s := range all {
			args = append(args, "--set", "functions."+name+".secrets."+s.Key+".name=a", "--set", "functions."+name+".secrets."+s.Key+".key="+s.Variable)
		}
		assertVariables(t, render(t, args...), all)
	}
	all := watcherSettings(t)
	known := at(t, valuesSchema(t), "properties", "watcher", "properties", "settings", "properties")
	all = slices.DeleteFunc(all, func(s settings.Setting) bool { return known[s.Key] == nil })
	var args []string
	for _, s := range all {
		args = append(args, "--set", "watcher.secrets."+s.Key+".name=a", "--set", "watcher.secrets."+s.Key+".key="+s.Variable)
	}
	assertVariables(t, render(t, args...), all)
}

// assertVariables: each variable is read from the key that has its name.
func assertVariables(t *testing.T, manifests string, all []settings.Setting) {
	t.Helper()
	for _, s := range all {
		assert.Regexp(t, `- name: `+s.Variable+`\n\s+valueFrom:\n\s+secretKeyRef:\n\s+name: "a"\n\s+key: "`+s.Variable+`"\n`, manifests)
	}
}
