package watcher

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kwatchman/kwatchman/internal/settings"
	"github.com/kwatchman/kwatchman/internal/suggest"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/config"
)

// command is the program: without a subcommand it watches.
func command(name string, functions map[string]Function) *cobra.Command {
	load := func(cmd *cobra.Command) (*config.Config, error) {
		return config.Load(cmd.Flags(), names(functions))
	}
	root := &cobra.Command{
		Use: name, Version: Version, SilenceErrors: true, SilenceUsage: true, DisableSuggestions: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var commands []string
			for _, c := range cmd.Commands() {
				commands = append(commands, c.Name())
			}
			return fmt.Errorf("unknown command %s%s (see --help)", suggest.Word(args[0]), suggest.Hint(args[0], commands))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			return runProgram(cmd.Context(), cfg, func() (*config.Config, error) { return load(cmd) }, functions)
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	config.AddFlags(root.PersistentFlags())
	root.AddCommand(
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), name, Version)
				return err
			},
		},
		&cobra.Command{
			Use: "check", Short: "Check configuration, resources, permissions and handlers; change nothing",
			Long: "Checks the configuration, finds the resources by discovery, asks the API server for the\n" +
				"permissions and connects to each remote handler. It prints a table, sends no event and\n" +
				"changes nothing. The exit code is 1 if something is wrong.",
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg, err := load(cmd)
				if err != nil {
					return err
				}
				return check(cmd.Context(), cfg, functions, cmd.OutOrStdout())
			},
		},
		rbacCommand(name, load),
		replayCommand(name, load, functions),
		explainCommand(name, load, functions),
		sendCommand(name, load, functions),
		conformCommand(name),
		readyCommand(name),
	)
	complete(root)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return errors.New("completion: want bash, zsh, fish or powershell")
				}
				return fmt.Errorf("completion: unknown shell %s: want bash, zsh, fish or powershell", suggest.Word(args[0]))
			}
		}
	}
	whole := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd != root {
			whole(cmd, args)
			return
		}
		if err := help(cmd.OutOrStdout(), name, functions); err != nil {
			cmd.PrintErrln(err)
		}
	})
	return root
}

// complete tells the shell what the flags take.
func complete(root *cobra.Command) {
	_ = root.MarkPersistentFlagFilename("config", "toml", "yaml", "yml", "json") // fails for a flag that does not exist only
	_ = root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
}

// flagError is one line without the argument, which may be a secret.
func flagError(_ *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("unknown flag: -%s (a long flag has two dashes; see --help)", unknown.GetSpecifiedName())
	}
	return fmt.Errorf("%w (see --help)", err)
}

// help is that of the program itself: with the settings, on one screen.
func help(w io.Writer, name string, functions map[string]Function) error {
	what := "sends each change as a CloudEvent along a chain of functions"
	if len(functions) == 0 {
		what += ", or to K_SINK"
	}
	_, _ = fmt.Fprintf(w, `%[1]s watches Kubernetes resources and %[2]s.

Usage: %[1]s               watch until stopped
       %[1]s check         check configuration, permissions and handlers, and change nothing
       %[1]s rbac          print the least role for the configuration
       %[1]s replay FILE   send the events of a dead letter again
       %[1]s explain FILE  say at which step recorded events stop and why, and send nothing
       %[1]s send [URL …]  send an event along a chain and print each answer
       %[1]s conform URL   check that an endpoint keeps the handler protocol
       %[1]s ready [URL]   ask a running watcher whether it is ready
       %[1]s completion    print the completion for bash, zsh, fish or powershell
       %[1]s version       print the version

Settings, as environment variables or flags, which go first (default in brackets):
`, name, what)
	cfg := config.Default(len(functions) > 0)
	if err := settings.Usage(w, config.Prefix, &cfg, "K_SINK\tset by Knative, with K_CE_OVERRIDES and K_CA_CERTS: where all events go", tracing.Usage); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(w, "\nLong flags: --config, --namespace, --label-selector, --handlers, --kubeconfig, --log-level, --record, --help, --version")
	if len(functions) == 0 {
		return nil
	}
	var built []string
	for _, n := range names(functions) {
		text := n
		if of := functions[n].settings(n); len(of) > 0 {
			text += " (" + strings.Join(sortedKeys(of), ", ") + ")"
		}
		built = append(built, text)
	}
	_, err := fmt.Fprintln(w, "Functions: "+strings.Join(built, ", "))
	return err
}
