package settings

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// Flags reads the arguments of a program whose settings are all in the
// environment: action is "help", "version" or empty for running it.
func Flags(args []string) (action string, err error) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	version := fs.Bool("version", false, "")
	err = fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return "help", nil
	case err != nil:
		return "", fmt.Errorf("%w (see --help)", err)
	case fs.NArg() > 0:
		return "", fmt.Errorf("unexpected argument %q (see --help)", fs.Arg(0))
	case *version:
		return "version", nil
	}
	return "", nil
}
