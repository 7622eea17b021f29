package filter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/ext"

	"github.com/kwatchman/kwatchman/internal/suggest"
)

// Bounds of one evaluation. What a rule about a manifest does costs some
// hundreds; the limit ends one that compares everything with everything.
const (
	costLimit  = 200_000
	checkEvery = 100 // steps of a comprehension between two looks at the context
	maxDepth   = 100 // of an expression
	// evaluationTime ends what the cost does not: cel-go's accounts take longer
	// with each round of a loop.
	evaluationTime = 2 * time.Second
)

// variables are what expressions may name.
var variables = map[string]*cel.Type{
	"action": cel.StringType, "cluster": cel.StringType, "apiVersion": cel.StringType, "kind": cel.StringType,
	"namespace": cel.StringType, "name": cel.StringType, "subject": cel.StringType, "via": cel.StringType,
	"time":      cel.TimestampType,
	"object":    cel.MapType(cel.StringType, cel.DynType),
	"oldObject": cel.MapType(cel.StringType, cel.DynType),
	"changedBy": cel.ListType(cel.MapType(cel.StringType, cel.DynType)),
	"diff":      cel.MapType(cel.StringType, cel.DynType),
	"paths":     cel.ListType(cel.StringType),
	"payload":   cel.StringType,
}

// newEnv is the language: CEL with cel-go's extensions, the variables, and the
// functions of paths.go.
func newEnv() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.OptionalTypes(), ext.Strings(), ext.Lists(), ext.Sets(), ext.Math(), ext.Encoders(), ext.Regex(), ext.Bindings(), ext.TwoVarComprehensions(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(maxDepth), cel.ParserExpressionSizeLimit(maxExpression),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	}
	options = append(options, cel.Variable(within, cel.ListType(cel.StringType)))
	for name, of := range variables {
		if name == reserved {
			name = inside
		}
		options = append(options, cel.Variable(name, of))
	}
	return cel.NewEnv(append(options, pathFunctions()...)...)
}

// rule is an expression, ready to be evaluated.
type rule struct {
	name    string
	program cel.Program
	needs   needs
}

// needs are the variables that have to be filled in.
type needs map[string]bool

func (n *needs) add(more needs) {
	if *n == nil {
		*n = needs{}
	}
	maps.Copy(*n, more)
}

// diff tells whether a rule looks at what the function diff found.
func (n needs) diff() bool { return n["diff"] || n["paths"] || n[within] }

// compile checks a rule. Its error is one line.
func compile(env *cel.Env, n named) (*rule, error) {
	ast, issues := env.Compile(allowReserved(n.expression))
	if issues.Err() != nil {
		return nil, fmt.Errorf("%s: rule %q: %s", n.where, n.name, problem(issues))
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("%s: rule %q gives %s: want true or false", n.where, n.name, cel.FormatCELType(t))
	}
	program, err := env.Program(ast, cel.CostLimit(costLimit), cel.InterruptCheckFrequency(checkEvery), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("%s: rule %q: %s", n.where, n.name, oneLine(err.Error()))
	}
	r := &rule{name: n.name, program: program, needs: needs{}}
	for _, ref := range ast.NativeRep().ReferenceMap() {
		if _, ok := variables[ref.Name]; ok || ref.Name == within {
			r.needs[ref.Name] = true
		}
	}
	return r, nil
}

// undeclared is cel-go's word for a name that does not exist.
var undeclared = regexp.MustCompile(`^undeclared reference to '([^']+)'`)

// problem is the first one that the compiler found.
func problem(issues *cel.Issues) string {
	all := issues.Errors()
	if len(all) == 0 {
		return oneLine(issues.Err().Error())
	}
	slices.SortStableFunc(all, func(a, b *common.Error) int { return before(a, b) })
	first := all[0]
	text := strings.ReplaceAll(oneLine(first.Message), inside, reserved)
	if found := undeclared.FindStringSubmatch(text); found != nil {
		text = "unknown name " + found[1]
		if near := suggest.Nearest(found[1], slices.Sorted(maps.Keys(variables))); near != "" {
			text += ": did you mean " + near + "?"
		} else {
			text += ": want " + strings.Join(slices.Sorted(maps.Keys(variables)), ", ") + " or a function of CEL"
		}
	}
	if first.Location.Line() > 1 {
		return fmt.Sprintf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, text)
	}
	return fmt.Sprintf("column %d: %s", first.Location.Column()+1, text)
}

func before(a, b *common.Error) int {
	if n := a.Location.Line() - b.Location.Line(); n != 0 {
		return n
	}
	return a.Location.Column() - b.Location.Column()
}

func oneLine(text string) string {
	const most = 300
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}

// holds evaluates the rule.
func (r *rule) holds(ctx context.Context, in map[string]any) (bool, error) {
	if in["diff"] == nil && r.needs.diff() {
		return false, errors.New("the event has no diff: put the function diff before filter")
	}
	ctx, cancel := context.WithTimeout(ctx, evaluationTime)
	defer cancel()
	out, _, err := r.program.ContextEval(ctx, in)
	if err != nil {
		return false, cause(err)
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("gives %s: want true or false", out.Type().TypeName())
	}
	return holds, nil
}

// cause keeps of an error what says nothing of the manifest: a failed
// conversion, for one, repeats the value.
func cause(err error) error {
	text := oneLine(err.Error())
	for _, safe := range []string{
		"no such key", "no such overload", "index out of bounds", "operation cancelled: actual cost limit exceeded",
		"operation interrupted", "division by zero", "modulus by zero", "duplicate key", "unsupported key type",
	} {
		if strings.HasPrefix(text, safe) {
			return errors.New(text)
		}
	}
	return errors.New("the evaluation failed")
}
