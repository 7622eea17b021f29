package diff

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/event"
)

// IgnoreAnnotation on an object holds back its changes: "true" all of them, a
// list of paths those.
const IgnoreAnnotation = "kwatchman.dev/ignore"

// The parts of the noise policy beyond the noise list, as DIFF_SHOW names them.
const (
	partAutoscaling = "autoscaling" // spec.replicas, written by autoscalers alone
	partOrder       = "order"       // the order of a list where it has no meaning
	partIgnored     = "ignored"     // what IgnoreAnnotation names
	partAll         = "all"
)

// autoscalers are the field managers whose new number of replicas is no news,
// each perhaps with the subresource it has to write through.
var autoscalers = []string{
	"kube-controller-manager/scale", // the HorizontalPodAutoscaler
	"keda", "keda-operator",
	"cluster-proportional-autoscaler",
	"autoscaler", // Knative Serving
}

// policy says what is held back.
type policy struct {
	rules       []rule
	autoscalers []string
	show        map[string]bool
}

// rule holds back what a pattern selects. because says so in a stop's reason,
// where %s is the path.
type rule struct {
	pattern
	because string
	noise   *event.NoiseField // what it comes from; nil: a setting
}

func newPolicy(cfg Config) (*policy, error) {
	p := &policy{autoscalers: slices.Clone(autoscalers), show: map[string]bool{}}
	if err := p.parts(cfg.Show); err != nil {
		return nil, err
	}
	because := map[event.NoisePart]string{
		event.NoiseChecksums: "checksum annotations", event.NoiseLeaderElection: "leader election",
	}
	for _, f := range event.NoiseFields() {
		if p.shows(string(f.Part)) {
			continue
		}
		r := rule{because: because[f.Part], noise: &f}
		for _, element := range f.Path {
			r.elements = append(r.elements, glob{text: element, whole: true})
		}
		if r.because == "" {
			r.because = "%s"
		}
		p.rules = append(p.rules, r)
	}
	ignore, err := parsePatterns("DIFF_IGNORE", cfg.Ignore)
	if err != nil {
		return nil, err
	}
	for _, i := range ignore {
		p.rules = append(p.rules, rule{pattern: i, because: "%s (DIFF_IGNORE)"})
	}
	for _, name := range cfg.Autoscalers {
		if name = strings.TrimSpace(name); name != "" {
			p.autoscalers = append(p.autoscalers, name)
		}
	}
	return p, nil
}

// parts reads the parts that are shown after all.
func (p *policy) parts(show []string) error {
	known := []string{partAll, partAutoscaling, partIgnored, partOrder}
	for _, f := range event.NoiseFields() {
		if !slices.Contains(known, string(f.Part)) {
			known = append(known, string(f.Part))
		}
	}
	slices.Sort(known)
	for _, part := range show {
		part = strings.ToLower(strings.TrimSpace(part))
		if part != "" && !slices.Contains(known, part) {
			return fmt.Errorf("DIFF_SHOW: unknown part %q: want %s", clipEnd(part, maxShown), strings.Join(known, ", "))
		}
		p.show[part] = true
	}
	return nil
}

func (p *policy) shows(part string) bool { return p.show[partAll] || p.show[part] }

var errIgnored = errors.New("the object's annotation " + IgnoreAnnotation + " says so")

// replicas is the rule for an autoscaler's change.
var replicas = rule{pattern: pattern{elements: []glob{{text: "spec"}, {text: "replicas"}}}, because: byAutoscaler}

// apply takes out of a pair of manifests what is held back, and notes what of
// that has changed. An object that wants to be left alone is errIgnored.
func (p *policy) apply(e *event.Event, m *pair) error {
	rules := p.rules
	if !p.shows(partIgnored) {
		own, all := ignoredBy(e.Action, m.old, m.new)
		if all {
			return errIgnored
		}
		rules = append(slices.Clip(rules), own...)
	}
	if e.Action == event.Update && !p.shows(partAutoscaling) && p.autoscaled(e.ChangedBy) {
		rules = append(slices.Clip(rules), replicas)
	}
	old, now := side{}, side{}
	for i := range rules {
		if f := rules[i].noise; f != nil && !f.Of(m.old) && !f.Of(m.new) {
			continue
		}
		m.old = old.prune(m.old, &rules[i])
		m.new = now.prune(m.new, &rules[i])
	}
	if e.Action == event.Update {
		m.held.differing(old.taken, now.taken)
	}
	return nil
}

// autoscaled tells whether every manager that may own spec.replicas is an
// autoscaler. Who wrote status owns nothing else.
func (p *policy) autoscaled(by []event.Manager) bool {
	found := false
	for _, m := range by {
		if m.Subresource == "status" {
			continue
		}
		if !slices.Contains(p.autoscalers, m.Manager) && !slices.Contains(p.autoscalers, m.Manager+"/"+m.Subresource) {
			return false
		}
		found = true
	}
	return found
}

// side takes parts out of one manifest of the pair.
type side struct {
	pruner
	taken []taken
}

// taken is a value that was taken out.
type taken struct {
	rule *rule
	path string
	v    any
}

func (s *side) prune(m map[string]any, r *rule) map[string]any {
	if m == nil {
		return nil
	}
	if s.own == nil {
		s.own = map[uintptr]bool{}
	}
	s.found = func(at path, v any) { s.taken = append(s.taken, taken{r, at.String(), v}) }
	s.noise = r.noise != nil
	return s.pruner.prune(m, r.pattern)
}
