package e2e

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// broken is a configuration that kwatchman has to refuse.
type broken struct {
	name string
	// file is what the working folder holds, with text in it, or a folder if it
	// ends with a slash. config.toml is found there; any other is given with -c.
	file, text string
	link       string // where file leads, instead of holding text
	args, env  []string
	// watches says that only the watch itself can tell, which logs its end.
	watches bool
	want    string // what follows the program's name, as a regular expression
}

// run starts kwatchman in a folder of its own and checks how it ends.
func (b *broken) run(t *testing.T, env ...string) {
	t.Helper()
	dir, args := t.TempDir(), b.args
	file, folder := strings.CutSuffix(b.file, "/")
	switch {
	case b.link != "":
		require.NoError(t, os.Symlink(b.link, filepath.Join(dir, file)))
	case folder:
		require.NoError(t, os.Mkdir(filepath.Join(dir, file), 0o700))
	case file != "":
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(b.text), 0o600))
	}
	if file != "" && file != "config.toml" {
		args = append([]string{"-c", file}, args...)
	}
	// One that starts all the same would run for ever.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, "kwatchman"), args...)
	cmd.Dir, cmd.Env = dir, environment(append(env, b.env...))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "it was taken for right: %s", &stderr)
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		require.NoError(t, err)
	}
	t.Log(&stderr) // go test -v shows them all, to be read
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), "stdout: %s\nstderr: %s", &stdout, &stderr)
	require.Empty(t, stdout.String())
	said := stderr.String()
	for b.watches && strings.HasPrefix(said, "{") { // a line of the log
		_, said, _ = strings.Cut(said, "\n")
	}
	require.Regexp(t, `^kwatchman: `+b.want, said)
	require.Equal(t, len(said)-1, strings.Index(said, "\n"), said)
	require.Less(t, len(said), 1000, "a line that can be read")
	for _, never := range []string{"secret-word", "goroutine", "panic", "Go value", "%!"} {
		require.NotContains(t, stderr.String(), never)
	}
}

const slackTwice = `[[handler]]
name = "slack"
webhookURL = "https://hooks.example.com/secret-word-1"

[[handler]]
name = "slack"
webhookURL = "https://hooks.example.com/secret-word-2"
`

// All of it is found before anybody is asked: the kubeconfig is absent.
func TestABrokenConfigurationIsOneLineThatSaysWhatIsWrongAndWhere(t *testing.T) {
	webhook := "SLACK_WEBHOOK_URL=https://hooks.example.com/secret-word"
	tests := []broken{
		// The command line.
		{name: "unknown flag", args: []string{"--colour=secret-word"}, want: `unknown flag: --colour \(see --help\)`},
		{name: "long flag with one dash", args: []string{"-webhook=https://hooks.example.com/secret-word"}, want: `unknown flag: -w \(a long flag has two dashes; see --help\)`},
		{name: "flag without a value", args: []string{"-n"}, want: `flag needs an argument: .*-n \(see --help\)`},
		{name: "long flag without a value", args: []string{"--kubeconfig"}, want: `flag needs an argument: --kubeconfig \(see --help\)`},
		{name: "misspelt command", args: []string{"chek"}, want: `unknown command "chek": did you mean check\? \(see --help\)`},
		{name: "argument", args: []string{"now"}, want: `unknown command "now": want .*check.* \(see --help\)`},
		{name: "argument that is a webhook", args: []string{"https://hooks.example.com/secret-word"}, want: `unknown command .*\(see --help\)`},
		{name: "argument of a command", args: []string{"check", "now"}, want: `unknown command "now" for "kwatchman check"`},
		{name: "unknown shell", args: []string{"completion", "fsh"}, want: `completion: unknown shell "fsh": want bash, zsh, fish or powershell`},
		{name: "log level by flag", args: []string{"-z", "secret-word"}, want: `--log-level: bad value: want debug, info, warn or error\n`},
		{name: "namespace by flag", args: []string{"-n", "shop,a_b"}, want: `--namespace: "a_b" is no name of a namespace`},
		{name: "label selector by flag", args: []string{"-l", "app in (a"}, want: `--label-selector: bad value: .+`},
		{name: "flag over a good variable", args: []string{"-z", "loud"}, env: []string{"KW_LOG_LEVEL=info"}, want: `--log-level: bad value`},
		{name: "service account", args: []string{"rbac", "--service-account", "a/b/c"}, want: `--service-account: "a/b/c" is no \[namespace/\]name`},
		{name: "service account without a name", args: []string{"rbac", "--service-account", "tools/"}, want: `--service-account: "tools/" is no \[namespace/\]name`},
		{name: "check of a broken file", args: []string{"check"}, file: "config.toml", text: "[[resource]]\n", want: `config.toml: resource 1: kind is missing`},
		{name: "role for a broken file", args: []string{"rbac"}, file: "config.toml", text: "[[resource]]\n", want: `config.toml: resource 1: kind is missing`},

		// The environment.
		{name: "unknown setting", env: []string{"KW_RESSOURCES=secret-word"}, want: `unknown setting KW_RESSOURCES: did you mean KW_RESOURCES\?`},
		{name: "unknown setting like no other", env: []string{"KW_COLOUR_OF_MONEY=secret-word"}, want: `unknown setting KW_COLOUR_OF_MONEY: want KW_CONFIG_FILE, .*KW_METRICS_ADDR`},
		{name: "unknown setting of a function", env: []string{"KW_HANDLERS=slack", webhook, "SLACK_CLUSTERNAME=secret-word"}, want: `KW_HANDLERS: entry 1: unknown setting SLACK_CLUSTERNAME: did you mean SLACK_CLUSTER_NAME\?`},
		{name: "setting that the shell has for something else", env: []string{"LOG_LEVEL=debug"}, want: `default handler log: unknown setting LOG_LEVEL: want LOG_FORMAT, LOG_COLOR, LOG_WIDTH, LOG_LINES \(variables that start with LOG_ are those of the function log; unset`},
		{name: "configuration that is a device", file: "c.toml", link: "/dev/null", want: `configuration file c.toml: is no regular file`},
		{name: "configuration that leads nowhere", file: "config.toml", link: "/absent", want: `configuration file config.toml: no such file or directory`},
		{name: "unknown setting of a function", env: []string{"DIFF_CONTEXT=3"}, want: `default handler diff: unknown setting DIFF_CONTEXT`},
		{name: "unknown handler", env: []string{"KW_HANDLERS=diff,slak"}, want: `KW_HANDLERS: entry 2: unknown handler "slak": did you mean slack\?`},
		{name: "unknown handler like no other", env: []string{"KW_HANDLERS=mattermost"}, want: `KW_HANDLERS: entry 1: unknown handler "mattermost": want diff, exec, filter, ignoreevents, log, slack, webhook`},
		{name: "no handlers", env: []string{"KW_HANDLERS= , "}, want: `no handlers: set KW_HANDLERS`},
		{name: "no resources", env: []string{"KW_RESOURCES="}, want: `KW_RESOURCES: names no resource`},
		{name: "handler that is no URL", env: []string{"KW_HANDLERS=diff,audit:secret-word/"}, want: `KW_HANDLERS: entry 2 is no URL: want http://`},
		{name: "handler of another scheme", env: []string{"KW_HANDLERS=ftp://user:secret-word@host/"}, want: `KW_HANDLERS: entry 1 is no URL: want http://`},
		{name: "webhook and token", env: []string{"KW_HANDLERS=slack", webhook, "SLACK_TOKEN=xoxb-secret-word", "SLACK_CHANNEL=#a"}, want: `KW_HANDLERS: entry 1: SLACK_WEBHOOK_URL and SLACK_TOKEN are both set`},
		{name: "token without a channel", env: []string{"KW_HANDLERS=slack", "SLACK_TOKEN=xoxb-secret-word"}, want: `KW_HANDLERS: entry 1: SLACK_TOKEN is set and SLACK_CHANNEL is not`},
		{name: "template of an unknown field", env: []string{"KW_HANDLERS=slack", webhook, "SLACK_TITLE={{ .Objct.kind }}"}, want: `KW_HANDLERS: entry 1: SLACK_TITLE: unknown field "Objct": did you mean Object\?`},
		{name: "template that is none", file: "config.toml", text: "[[handler]]\nname = \"slack\"\ntoken = \"xoxb-secret-word\"\nchannel = \"#{{ .Name\"\n", want: `config.toml: handler 1 \(slack\): channel: bad template: 1: unclosed action`},
		{name: "webhook URL missing", env: []string{"KW_HANDLERS=slack"}, want: `KW_HANDLERS: entry 1: SLACK_WEBHOOK_URL is not set: create an incoming webhook at https://`},
		{name: "webhook URL empty", env: []string{"KW_HANDLERS=slack", "SLACK_WEBHOOK_URL= "}, want: `KW_HANDLERS: entry 1: SLACK_WEBHOOK_URL is not set`},
		{name: "webhook URL without a scheme", env: []string{"KW_HANDLERS=slack", "SLACK_WEBHOOK_URL=hooks.example.com/secret-word"}, want: `KW_HANDLERS: entry 1: SLACK_WEBHOOK_URL: bad value: want an absolute http or https URL`},
		{name: "webhook URL that cannot be read", env: []string{"KW_HANDLERS=slack", "SLACK_WEBHOOK_URL=https://hooks.example.com/%secret-word"}, want: `KW_HANDLERS: entry 1: SLACK_WEBHOOK_URL: bad value`},
		{name: "unknown format", env: []string{"LOG_FORMAT=secret-word"}, want: `default handler log: LOG_FORMAT: bad value: want json, ecs, text or compact`},
		{name: "unknown action", env: []string{"KW_HANDLERS=ignoreEvents,log", "IGNOREEVENTS_EVENTS=Add,Change"}, want: `KW_HANDLERS: entry 1: IGNOREEVENTS_EVENTS: unknown action "Change": want Add, Update or Delete`},
		{name: "duration", env: []string{"KW_TIMEOUT=secret-word"}, want: `KW_TIMEOUT: bad value: want a duration such as`},
		{name: "duration without a unit", env: []string{"KW_RETRY_WAIT_MAX=15"}, want: `KW_RETRY_WAIT_MAX: bad value: want a duration such as`},
		{name: "negative duration", env: []string{"KW_TIMEOUT=-1s"}, want: `KW_TIMEOUT: bad value: want 0 \(the default\) or more`},
		{name: "waits the wrong way round", env: []string{"KW_RETRY_WAIT_MIN=2m"}, want: `KW_RETRY_WAIT_MAX: bad value: want at least KW_RETRY_WAIT_MIN, which is 2m0s`},
		{name: "number", env: []string{"KW_CONCURRENCY=secret-word"}, want: `KW_CONCURRENCY: bad value: want a whole number`},
		{name: "number too large for any", env: []string{"KW_RETRY_MAX=99999999999999999999"}, want: `KW_RETRY_MAX: bad value: want a whole number`},
		{name: "number too small", env: []string{"KW_QUEUE_EVENTS=0"}, want: `KW_QUEUE_EVENTS: bad value: want at least 1`},
		{name: "bool", env: []string{"KW_SKIP_NOISE=secret-word"}, want: `KW_SKIP_NOISE: bad value: want true or false`},
		{name: "size", env: []string{"KW_QUEUE_BYTES=secret-word"}, want: `KW_QUEUE_BYTES: bad value: want a size such as 64Mi`},
		{name: "dead letter that is no URL", env: []string{"KW_DEAD_LETTER=ftp://user:secret-word@host/"}, want: `KW_DEAD_LETTER: is no URL: want http://host:port/path, https://host/path or the path of a file`},
		{name: "dead letter in a folder that is absent", env: []string{"KW_DEAD_LETTER=/absent/letters"}, want: `dead letter /absent/letters: no such file or directory\n`},
		{name: "dead letter that is a folder", env: []string{"KW_DEAD_LETTER=/dev"}, want: `dead letter /dev: is no regular file`},
		{name: "state in a file", env: []string{"KW_STATE_DIR=/dev/null"}, want: `KW_STATE_DIR: /dev/null cannot be written: not a directory`},
		{name: "state where none can be", env: []string{"KW_STATE_DIR=/proc/state"}, want: `KW_STATE_DIR: /proc/state cannot be written: no such file or directory`},
		{name: "replay without a file", args: []string{"replay"}, want: `replay: want one FILE \(see replay --help\)`},
		{name: "replay of what is absent", args: []string{"replay", "/absent/letters"}, want: `/absent/letters: no such file or directory`},
		{name: "size out of bounds", env: []string{"KW_QUEUE_BYTES=-1Gi"}, want: `KW_QUEUE_BYTES: bad value: want a size such as 64Mi`},
		{name: "initial", env: []string{"KW_INITIAL=secret-word"}, want: `KW_INITIAL: bad value: want baseline or emit`},
		{name: "log level", env: []string{"KW_LOG_LEVEL=secret-word"}, want: `KW_LOG_LEVEL: bad value: want debug, info, warn or error`},
		{name: "name of the cluster", env: []string{"KW_CLUSTER_NAME=a\nb"}, want: `KW_CLUSTER_NAME: bad value: holds a control character`},
		{name: "namespace", env: []string{"KW_NAMESPACE=Shop"}, want: `KW_NAMESPACE: "Shop" is no name of a namespace`},
		{name: "namespace to leave out", env: []string{"KW_EXCLUDE_NAMESPACES=kube-system,*"}, want: `KW_EXCLUDE_NAMESPACES: "\*" is no name of a namespace`},
		{name: "nothing left", env: []string{"KW_NAMESPACE=a", "KW_EXCLUDE_NAMESPACES=b,a"}, want: `KW_EXCLUDE_NAMESPACES: leaves nothing of KW_NAMESPACE`},
		{name: "nothing left of a flag", args: []string{"-n", "a"}, env: []string{"KW_EXCLUDE_NAMESPACES=a"}, want: `KW_EXCLUDE_NAMESPACES: leaves nothing of --namespace`},
		{name: "label selector", env: []string{"KW_LABEL_SELECTOR=a=b=c"}, want: `KW_LABEL_SELECTOR: bad value: .+`},
		{name: "label selector of lines", env: []string{"KW_LABEL_SELECTOR=app in (\n\n"}, want: `KW_LABEL_SELECTOR: bad value: .+`},
		{name: "field selector", env: []string{"KW_FIELD_SELECTOR=metadata.name"}, want: `KW_FIELD_SELECTOR: bad value: .+`},
		{name: "sink", env: []string{"K_SINK=secret-word"}, want: `K_SINK: bad value: want a URL`},
		{name: "overrides", env: []string{"K_SINK=http://127.0.0.1:9", "K_CE_OVERRIDES=secret-word"}, want: `K_CE_OVERRIDES: bad value: want JSON such as`},
		{name: "certificates", env: []string{"K_SINK=http://127.0.0.1:9", "K_CA_CERTS=secret-word"}, want: `K_CA_CERTS: holds no PEM certificate`},

		// The file as a whole.
		{name: "absent file", args: []string{"-c", "absent.toml"}, want: `configuration file absent.toml: no such file`},
		{name: "absent file by variable", env: []string{"KW_CONFIG_FILE=absent.yaml"}, want: `configuration file absent.yaml: no such file`},
		{name: "file that is a folder", file: "c.toml/", want: `configuration file c.toml: is a directory`},
		{name: "folder with the name of the file", file: "config.toml/", want: `configuration file config.toml: is a directory`},
		{name: "file under a file", file: "c.yaml", args: []string{"-c", "c.yaml/c.toml"}, want: `configuration file c.yaml/c.toml: not a directory`},
		{name: "file of another kind", file: "kwatchman.ini", text: "token=secret-word", want: `configuration file kwatchman.ini: want a name that ends in .toml, .yaml, .yml or .json`},
		{name: "file without a kind", file: "kwatchman", want: `configuration file kwatchman: want a name that ends in .toml`},
		{name: "file too large", file: "config.toml", text: "# secret-word\n" + strings.Repeat("#\n", 1<<19), want: `configuration file config.toml: larger than 1 MiB`},
		{name: "file of something else", file: "config.toml", text: "title = \"secret-word\"\n[owner]\nname = \"Tom\"\n", want: `config.toml: unknown key "owner": want resource, handler.*(-c|KW_CONFIG_FILE)`},

		// Broken syntax: the line, and nothing of what stands there.
		{name: "TOML without quotes", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nwebhookURL = https://secret-word\n", want: `config.toml: broken TOML in line 3, column \d+ \(read because it is in the working directory: -c names another file, -c '' none\)\n`},
		{name: "TOML of an open string", file: "c.toml", text: "[[handler]]\nname = \"slack\"\nwebhookURL = \"https://secret-word\n\n", want: `c.toml: broken TOML in line 3, column \d+\n`},
		{name: "TOML of an open table", file: "c.toml", text: "[[resource]]\nkind = \"pods\"\n[[secret-word]\n", want: `c.toml: broken TOML in line 3, column \d+\n`},
		{name: "TOML key twice", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nwebhookURL = \"https://a/secret-word\"\nwebhookURL = \"https://b/secret-word\"\n", want: `config.toml: .*line 4`},
		{name: "TOML table and list of one name", file: "config.toml", text: "[[resource]]\nkind = \"pods\"\n[resource]\nkind = \"secret-word\"\n", want: `config.toml: .*line 3`},
		{name: "YAML of an open string", file: "c.yaml", text: "handler:\n- name: slack\n  webhookURL: \"https://secret-word\n", want: `c.yaml: broken YAML in line [34]\n`},
		{name: "YAML with a tab", file: "c.yml", text: "handler:\n- name: slack\n\twebhookURL: https://secret-word\n", want: `c.yml: broken YAML in line 3\n`},
		{name: "YAML with two colons", file: "c.yaml", text: "handler:\n- name: slack\n  clusterName: secret-word: b\n", want: `c.yaml: broken YAML in line 3\n`},
		{name: "YAML of the wrong depth", file: "c.yaml", text: "resource:\n- kind: pods\nhandler:\n- name: slack\n webhookURL: https://secret-word\n", want: `c.yaml: broken YAML in line 5\n`},
		{name: "YAML broken in the first line", file: "c.yaml", text: "handler: [secret-word\n", want: `c.yaml: broken YAML in line [12]\n`},
		{name: "YAML broken in its only line", file: "c.yaml", text: "clusterName: secret-word: b\n", want: `c.yaml: broken YAML in line 1\n`},
		{name: "YAML of an open table", file: "c.yaml", text: "handler:\n- {name: slack\n- {name: secret-word}\n", want: `c.yaml: broken YAML in line [23]\n`},
		{name: "YAML of a wrong tag", file: "c.yaml", text: "handler:\n- name: !!int secret-word\n", want: `c.yaml: .+`},
		{name: "YAML key twice", file: "c.yaml", text: "handler:\n- name: diff\nresource:\n- kind: pods\nhandler:\n- name: secret-word\n", want: `c.yaml: .*line 5`},
		{name: "YAML of two documents", file: "c.yaml", text: "handler:\n- name: diff\n---\nresource:\n- kind: secret-word\n", want: `c.yaml: .*(document|line 3)`},
		{name: "YAML of an unknown alias", file: "c.yaml", text: "handler:\n- name: diff\n- *secret-word\n", want: `c.yaml: broken YAML`},
		{name: "JSON with a comma too many", file: "c.json", text: "{\"handler\": [\n {\"name\": \"slack\",\n  \"webhookURL\": \"https://secret-word\",\n }\n]}\n", want: `c.json: broken JSON in line 4\n`},
		{name: "JSON with a comma missing", file: "c.json", text: "{\"handler\": [\n {\"name\": \"slack\"\n  \"webhookURL\": \"https://secret-word\"}]}\n", want: `c.json: broken JSON in line 3\n`},
		{name: "JSON of an open string", file: "c.json", text: "{\"handler\": [\n {\"name\": \"slack\",\n  \"webhookURL\": \"https://secret-word}\n]}\n", want: `c.json: broken JSON in line 3\n`},
		{name: "JSON that ends early", file: "c.json", text: "{\"handler\": [\n {\"name\": \"secret-word\"}", want: `c.json: broken JSON in line 2\n`},
		{name: "JSON key twice", file: "c.json", text: "{\"handler\": [{\"name\": \"diff\"}],\n\"handler\": [{\"name\": \"log\"}]}\n", want: `c.json: key "handler" stands twice, in line 2`},
		{name: "empty JSON", file: "c.json", want: `c.json: broken JSON in line 1\n`},
		{name: "JSON called TOML", file: "c.toml", text: "{\"handler\": [{\"name\": \"secret-word\"}]}", want: `c.toml: broken TOML in line 1, column 1\n`},

		// Right syntax of the wrong shape.
		{name: "list at the top of YAML", file: "c.yaml", text: "- secret-word\n", want: `c.yaml: want a table with the keys resource and handler`},
		{name: "word at the top of YAML", file: "c.yaml", text: "secret-word\n", want: `c.yaml: want a table with the keys resource and handler`},
		{name: "list at the top of JSON", file: "c.json", text: "[{\"kind\": \"secret-word\"}]", want: `c.json: want a table with the keys resource and handler`},
		{name: "unknown key", file: "config.toml", text: "[[resources]]\nkind = \"secret-word\"\n", want: `config.toml: unknown key "resources": did you mean resource\?`},
		{name: "unknown key without a value", file: "c.yaml", text: "resource:\n- kind: pods\nhandlers:\n", want: `c.yaml: unknown key "handlers": did you mean handler\?`},
		{name: "unknown table without a key", file: "config.toml", text: "[handlers]\n", want: `config.toml: unknown key "handlers": did you mean handler\?`},
		{name: "key in two spellings", file: "config.toml", text: "[[handler]]\nname = \"diff\"\n[[Handler]]\nname = \"log\"\n", want: `config.toml: .*handler.*`},
		{name: "key of an entry in two spellings", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nwebhookURL = \"https://secret-word/a\"\nwebhookUrl = \"https://secret-word/b\"\n", want: `config.toml: handler: entry 1: key "(?i)webhookurl" stands twice`},
		{name: "table for a list", file: "config.toml", text: "[resource]\nkind = \"pods\"\n", want: `config.toml: resource: want a list of tables, which TOML writes \[\[resource\]\]`},
		{name: "empty table for a list", file: "config.toml", text: "[handler]\n", want: `config.toml: handler: want a list of tables, which TOML writes \[\[handler\]\]`},
		{name: "word for a list", file: "c.json", text: "{\"handler\": \"secret-word\"}", want: `c.json: handler: want a list of tables`},
		{name: "nothing for a list", file: "c.yaml", text: "handler:\nresource:\n- kind: pods\n", want: `c.yaml: handler: want a list of tables`},
		{name: "list of words", file: "c.yaml", text: "handler: [diff, secret-word]\n", want: `c.yaml: handler 1: want a table of keys and values`},
		{name: "empty list", file: "c.yaml", text: "resource: []\n", want: `c.yaml: resource: the list is empty: leave it out for the default`},
		{name: "empty entry", file: "c.yaml", text: "resource:\n- kind: pods\n-\n", want: `c.yaml: resource 2: want a table of keys and values`},

		// Its resources.
		{name: "unknown key of a resource", file: "config.toml", text: "[[resource]]\nkind = \"pods\"\nnamespace = \"secret-word\"\n", want: `config.toml: resource 1: unknown key "namespace": did you mean namespaces\?`},
		{name: "resource without a kind", file: "config.toml", text: "[[resource]]\nkind = \"pods\"\n\n[[resource]]\nnamespaces = [\"a\"]\n", want: `config.toml: resource 2: kind is missing: want a name such as kind = "deployment"`},
		{name: "kind of the wrong type", file: "c.yaml", text: "resource:\n- kind: [pods, services]\n", want: `c.yaml: resource 1: kind: bad value: want a string`},
		{name: "namespaces of the wrong type", file: "c.json", text: "{\"resource\": [{\"kind\": \"pods\", \"namespaces\": [1]}]}", want: `c.json: resource 1: namespaces: bad value: want a list of strings`},
		{name: "namespace of a resource", file: "config.toml", text: "[[resource]]\nkind = \"pods\"\nnamespaces = [\"shop\", \"a b\"]\n", want: `config.toml: resource 1: namespaces: "a b" is no name of a namespace`},
		{name: "label selector of a resource", file: "config.toml", text: "[[resource]]\nkind = \"pods\"\nlabelSelector = \"app in (a\"\n", want: `config.toml: resource 1: labelSelector: bad value: .+`},
		{name: "field selector of a resource", file: "config.toml", text: "[[resource]]\nkind = \"pods\"\nfieldSelector = \"metadata.name\"\n", want: `config.toml: resource 1: fieldSelector: bad value: .+`},
		{name: "nothing left of a resource", file: "config.toml", text: "[[resource]]\nkind = \"pods\"\nnamespaces = [\"a\"]\n", env: []string{"KW_EXCLUDE_NAMESPACES=a"}, want: `KW_EXCLUDE_NAMESPACES: leaves nothing of config.toml: resource 1: namespaces`},

		// Its handlers.
		{name: "unknown handler in the file", file: "config.toml", text: "[[handler]]\nname = \"diff\"\n\n[[handler]]\nname = \"ignoreEvent\"\n", want: `config.toml: handler 2 \(ignoreEvent\): unknown handler "ignoreEvent": did you mean ignoreevents\?`},
		{name: "unknown key of a handler", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nwebhokURL = \"https://secret-word\"\n", want: `config.toml: handler 1 \(slack\): unknown key "(?i)webhokurl": did you mean webhookURL\?`},
		{name: "key that nearly is one", file: "config.toml", text: "[[handler]]\nname = \"diff\"\nignored = \"secret-word\"\n", want: `config.toml: handler 1 \(diff\): unknown key "ignored": did you mean ignore\?`},
		{name: "key that a missing space made", file: "c.yaml", text: "handler:\n- {name: slack, webhookURL:https://hooks.example.com/secret-word}\n", want: `c.yaml: handler 1 \(slack\): unknown key "(?i)webhookurl.*`},
		{name: "key as long as a book", file: "config.toml", text: "[[handler]]\nname = \"slack\"\n" + strings.Repeat("k", 5000) + " = 1\n", want: `config.toml: handler 1 \(slack\): unknown key "k+.*webhookURL`},
		{name: "handler without a name", file: "config.toml", text: "[[handler]]\nwebhookURL = \"https://secret-word\"\n", want: `config.toml: handler 1: name is missing: want the name of a function, or a url`},
		{name: "name of the wrong type", file: "config.toml", text: "[[handler]]\nname = 5\n", want: `config.toml: handler 1: name: bad value: want a string, in quotes`},
		{name: "URL for a name", file: "config.toml", text: "[[handler]]\nname = \"http://audit/secret-word\"\n", want: `config.toml: handler 1.*: .*url`},
		{name: "missing webhook URL in the file", file: "config.toml", text: "[[handler]]\nname = \"slack\"\n", want: `config.toml: handler 1 \(slack\): webhookURL \(or SLACK_WEBHOOK_URL\) is not set: create an incoming webhook at https://`},
		{name: "bad webhook URL in the file", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nwebhookURL = \"hooks.example.com/secret-word\"\n", want: `config.toml: handler 1 \(slack\): .*webhookURL.*: want an absolute http or https URL`},
		{name: "webhook URL of the wrong type", file: "c.yaml", text: "handler:\n- name: slack\n  webhookURL: [https://secret-word]\n", want: `c.yaml: handler 1 \(slack\): webhookURL: bad value: want a string, in quotes`},
		{name: "cluster name of the wrong type", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nwebhookURL = \"https://secret-word\"\nclusterName = 5\n", want: `config.toml: handler 1 \(slack\): clusterName: bad value: want a string, in quotes`},
		{name: "unknown action in the file", file: "config.toml", text: "[[handler]]\nname = \"ignoreEvents\"\nevents = \"nonsense\"\n", want: `config.toml: handler 1 \(ignoreEvents\): .*events: unknown action "nonsense": want Add, Update or Delete`},
		{name: "events of the wrong type", file: "config.toml", text: "[[handler]]\nname = \"ignoreEvents\"\nevents = 5\n", want: `config.toml: handler 1 \(ignoreEvents\): events: bad value: want a list of strings`},
		{name: "event of the wrong type", file: "config.toml", text: "[[handler]]\nname = \"ignoreEvents\"\nevents = [\"Add\", 5]\n", want: `config.toml: handler 1 \(ignoreEvents\): events: bad value: want a list of strings`},
		{name: "format in the file", file: "config.toml", text: "[[handler]]\nname = \"log\"\nformat = \"secret-word\"\n", want: `config.toml: handler 1 \(log\): .*format: bad value: want json, ecs, text or compact`},
		{name: "handler with url and settings", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nurl = \"http://slack:8080\"\nwebhookURL = \"https://secret-word\"\n", want: `config.toml: handler 1: key "(?i)webhookurl": a handler with a url has its settings where it runs`},
		{name: "handler with an empty url", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nurl = \" \"\n", want: `config.toml: handler 1: url is empty: .+`},
		{name: "handler whose url is none", file: "config.toml", text: "[[handler]]\nurl = \"secret-word\"\n", want: `config.toml: handler 1:? .*no URL: want http://`},
		{name: "handler whose url has another scheme", file: "config.toml", text: "[[handler]]\nname = \"audit\"\nurl = \"unix://user:secret-word@host\"\n", want: `config.toml: handler 1:? .*no URL: want http://`},
		{name: "url misspelt", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nurI = \"http://secret-word\"\n", want: `config.toml: handler 1 \(slack\): unknown key "uri": .+`},

		// Two sources that cannot both be meant.
		{name: "settings of two and a variable", file: "config.toml", text: slackTwice, env: []string{webhook}, want: `config.toml: handler 1 \(slack\): SLACK_WEBHOOK_URL is set too, and there are several handlers slack: give each its settings in the file and unset the variable`},
		{name: "settings of two and a name", file: "config.toml", text: slackTwice, env: []string{"KW_HANDLERS=diff,Slack"}, want: `KW_HANDLERS: entry 2 \((?i)slack\): config.toml has settings for 2 of them, and a name cannot tell which: leave KW_HANDLERS out`},
		{name: "name in the environment and a broken key in the file", file: "config.toml", text: "[[handler]]\nname = \"slack\"\nwebhook = \"https://secret-word\"\n", env: []string{"KW_HANDLERS=slack"}, want: `.*config.toml.*: unknown key "webhook": want webhookURL`},

		// The kubeconfig.
		{name: "absent kubeconfig", args: []string{"-k", "absent"}, want: `kubeconfig: .*absent: no such file`},
		{name: "absent KUBECONFIG", env: []string{"KW_KUBECONFIG=", "KUBECONFIG=/absent"}, want: `KUBECONFIG: no cluster in /absent: does the file exist\?`},
		{name: "no cluster", env: []string{"KW_KUBECONFIG=", "HOME=/absent"}, want: `no cluster to watch: set KW_KUBECONFIG`},
		{name: "configuration for a kubeconfig", file: "config.toml", text: "[[resource]]\nkind = \"secret-word\"\n", args: []string{"-k", "config.toml"}, want: `kubeconfig: .*config.toml`},
		{name: "kubeconfig that is a word", file: "c.yaml", text: "secret-word", args: []string{"-c", "", "-k", "c.yaml"}, want: `kubeconfig: .*c.yaml`},
		{name: "empty kubeconfig", file: "c.yaml", args: []string{"-k", "c.yaml"}, want: `kubeconfig: .*c.yaml`},
		{name: "kubeconfig that is a folder", args: []string{"-k", "/"}, want: `kubeconfig: .*/: is a directory`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, "KW_KUBECONFIG=/absent")
		})
	}
}

func TestABrokenConfigurationThatOnlyTheClusterCanTellIsOneLineToo(t *testing.T) {
	c := newCluster(t)
	kubeconfig := func(change func(*clientcmdapi.Config)) string {
		return "KW_KUBECONFIG=" + writeKubeconfig(t, c, change)
	}
	server := func(url string) string {
		return kubeconfig(func(cfg *clientcmdapi.Config) {
			cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: url}
			cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "secret-word"}
		})
	}
	website := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>secret-word")) }))
	t.Cleanup(website.Close)
	nothing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nothing.Close)
	used := strings.TrimPrefix(recordRaw(t).URL, "http://")
	forbidden := "KW_KUBECONFIG=" + c.serviceAccount("broken", "list")
	tests := []broken{
		{name: "unknown resource", env: []string{"KW_RESOURCES=services,deploymnts"}, want: `KW_RESOURCES: unknown resource "deploymnts": did you mean deployments\?`},
		{name: "part of all", env: []string{"KW_RESOURCES=*.apps"}, want: `KW_RESOURCES: unknown resource "\*.apps": \* alone stands for all`},
		{name: "version that is not served", env: []string{"KW_RESOURCES=deployments.v2.apps"}, want: `KW_RESOURCES: unknown resource "deployments.v2.apps": did you mean deployments.v1.apps\?`},
		{name: "no current context", env: []string{kubeconfig(func(cfg *clientcmdapi.Config) { cfg.CurrentContext = "" })}, want: `kubeconfig: it has no current context: choose one with kubectl config use-context`},
		{name: "unknown resource like no other", env: []string{"KW_RESOURCES=widgets"}, want: `KW_RESOURCES: unknown resource "widgets": a custom resource .*with its group`},
		{name: "unknown resource in the file", file: "config.toml", text: "[[resource]]\nkind = \"service\"\n\n[[resource]]\nkind = \"deploymet\"\n", want: `config.toml: resource 2: unknown resource "deploymet": did you mean deployment\?`},
		{name: "resource that cannot be watched", env: []string{"KW_RESOURCES=tokenreviews"}, want: `KW_RESOURCES: resource "tokenreviews" cannot be listed and watched`},
		{name: "subresource", env: []string{"KW_RESOURCES=deployments/scale"}, want: `KW_RESOURCES: unknown resource "deployments/scale": (did you mean deployments\?|subresources cannot be watched, name the resource)`},
		{name: "resource of two selectors", file: "config.toml", text: "[[resource]]\nkind = \"deploy\"\nlabelSelector = \"a=b\"\n\n[[resource]]\nkind = \"deployments.apps\"\n", want: `config.toml: resource 2: deployments.apps has other selectors in config.toml: resource 1: .*say it once`},
		{name: "namespace of two selectors", file: "config.toml", text: "[[resource]]\nkind = \"cm\"\n\n[[resource]]\nkind = \"configmap\"\nnamespaces = [\"a\"]\nfieldSelector = \"metadata.name=x\"\n", want: `config.toml: resource 2: configmaps in namespace a has other selectors in config.toml: resource 1: .*say it once`},
		{name: "field that cannot be selected", watches: true, env: []string{"KW_FIELD_SELECTOR=spec.colour=red"}, want: `.*(spec.colour.* is not a known field selector|field label not supported: spec.colour)`},
		{name: "role for an unknown resource", args: []string{"rbac"}, env: []string{"KW_RESOURCES=deploymnts"}, want: `KW_RESOURCES: unknown resource "deploymnts": did you mean deployments\?`},
		{name: "port in use", env: []string{"KW_METRICS_ADDR=" + used}, want: `KW_METRICS_ADDR: .*address already in use`},
		{name: "address that is none", env: []string{"KW_METRICS_ADDR=nowhere"}, want: `KW_METRICS_ADDR: bad value: want an address such as :9090`},
		{name: "port that does not exist", env: []string{"KW_METRICS_ADDR=:99999"}, want: `KW_METRICS_ADDR: bad value: want an address such as :9090`},
		{name: "unreachable API server", env: []string{server("https://user:secret-word@127.0.0.1:1/secret-word")}, want: `the API server at 127.0.0.1:1 cannot be reached: .*refused`},
		{name: "API server of another authority", env: []string{server(c.config.Host)}, want: `the API server at [^ ]* cannot be reached: .*certificate`},
		{name: "API server that is a website", env: []string{server(website.URL)}, want: `.*127.0.0.1:\d+.*/api holds no JSON`},
		{name: "API server that serves nothing", env: []string{server(nothing.URL)}, want: `.*127.0.0.1:\d+.*`},
		{name: "API server that is no URL", env: []string{server("://secret-word")}, want: `kubeconfig: the server of the cluster is no URL: want https://host:port`},
		{name: "refused credentials", env: []string{kubeconfig(func(cfg *clientcmdapi.Config) { cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "secret-word"} })}, want: `the API server refuses the credentials \(401 Unauthorized\): check the kubeconfig`},
		{name: "no credentials", env: []string{kubeconfig(func(cfg *clientcmdapi.Config) { cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{} })}, want: `(the API server refuses the credentials|discovery is forbidden)`},
		{name: "context that is absent", env: []string{kubeconfig(func(cfg *clientcmdapi.Config) { cfg.CurrentContext = "elsewhere" })}, want: `kubeconfig: .*context.*elsewhere`},
		{name: "certificate that is absent", env: []string{kubeconfig(func(cfg *clientcmdapi.Config) {
			cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificate: "/absent/cert", ClientKey: "/absent/key"}
		})}, want: `kubeconfig: .*/absent/cert`},
		{name: "plugin that is absent", env: []string{kubeconfig(func(cfg *clientcmdapi.Config) {
			cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
				Command: "no-such-plugin", Args: []string{"secret-word"}, APIVersion: "client.authentication.k8s.io/v1",
				InteractiveMode: clientcmdapi.NeverExecInteractiveMode, InstallHint: "install it\nsoon",
			}}
		})}, want: `.*no-such-plugin not found`},
		{name: "forbidden resource", env: []string{forbidden, "KW_RESOURCES=secrets", "KW_NAMESPACE=" + c.namespace}, want: `may not list and watch secrets: add to a Role in namespace ` + c.namespace + ` the rule \{.*"secrets".*\} \(kwatchman rbac prints the whole role\)`},
		{name: "forbidden verb", env: []string{forbidden, "KW_RESOURCES=cm", "KW_NAMESPACE=" + c.namespace}, want: `may not watch configmaps: add to a Role in namespace`},
		{name: "forbidden in the whole cluster", env: []string{forbidden, "KW_RESOURCES=cm,secrets,nodes"}, want: `may not list and watch configmaps: add to a ClusterRole the rule .*; and so for 2 more \(kwatchman rbac`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(t, "KW_KUBECONFIG="+c.kubeconfig, "KW_METRICS_ADDR=", "KW_CLUSTER_NAME=test")
		})
	}
}
