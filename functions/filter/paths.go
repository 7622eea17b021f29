package filter

import (
	"regexp"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// pathFunctions are changed(pattern) and onlyChanged(pattern), which look at the
// paths of diff.changes. They are macros, for a function does not see variables.
func pathFunctions() []cel.EnvOption {
	strings := cel.ListType(cel.StringType)
	function := func(name, variable string, all bool) []cel.EnvOption {
		inner := "@" + name
		expand := func(mef cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			return mef.NewCall(inner, mef.NewIdent(variable), mef.NewList(args...)), nil
		}
		return []cel.EnvOption{
			cel.Macros(cel.GlobalVarArgMacro(name, expand)),
			cel.Function(inner, cel.Overload(name+"_paths_patterns", []*cel.Type{strings, strings}, cel.BoolType,
				cel.BinaryBinding(func(paths, patterns ref.Val) ref.Val { return under(paths, patterns, all) }))),
		}
	}
	return append(function("changed", within, false), function("onlyChanged", "paths", true)...)
}

// under tells whether a path, or with all each and at least one, is at or below
// what one of the patterns names.
func under(paths, patterns ref.Val, all bool) ref.Val {
	var tests []*regexp.Regexp
	for i := patterns.(traits.Iterable).Iterator(); i.HasNext() == types.True; {
		text, ok := i.Next().Value().(string)
		if !ok {
			return types.NewErr("no such overload: a pattern of paths is a string")
		}
		tests = append(tests, pattern(text))
	}
	any := false
	for i := paths.(traits.Iterable).Iterator(); i.HasNext() == types.True; {
		path, _ := i.Next().Value().(string)
		found := false
		for _, t := range tests {
			found = found || t.MatchString(path)
		}
		switch {
		case found && !all:
			return types.True
		case !found && all:
			return types.False
		}
		any = any || found
	}
	return types.Bool(any)
}

// pattern reads spec.template.spec.containers[*].image: a * stands for any name
// or part of one, a ** for any number of names.
func pattern(text string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^")
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "**"):
			b.WriteString(".*")
			i++
		case strings.HasPrefix(text[i:], "[*]"):
			b.WriteString(`\[[^\]]*\]`)
			i += 2
		case text[i] == '*':
			b.WriteString(`[^.\[\]]*`)
		default:
			b.WriteString(regexp.QuoteMeta(text[i : i+1]))
		}
	}
	b.WriteString(`(?:$|[.\[])`)
	return regexp.MustCompile(b.String())
}
