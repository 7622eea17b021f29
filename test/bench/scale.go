package main

import (
	"math"
	"slices"
)

// scale maps values to places, by their logarithm.
type scale struct{ low, high, from, to float64 }

func (s scale) at(v float64) float64 {
	return s.from + (math.Log(v)-math.Log(s.low))/(math.Log(s.high)-math.Log(s.low))*(s.to-s.from)
}

// ticks are 1, 2 and 5 times each power of ten within the scale; where these
// would stand too close, the powers alone.
func (s scale) ticks() []float64 {
	steps := []float64{1, 2, 5}
	if s.high/s.low > 3000 {
		steps = steps[:1]
	}
	var out []float64
	for power := math.Pow(10, math.Floor(math.Log10(s.low))); power <= s.high; power *= 10 {
		for _, f := range steps {
			if v := f * power; v >= s.low*0.999 && v <= s.high*1.001 {
				out = append(out, v)
			}
		}
	}
	return out
}

// around is a scale with a margin about all values, which are positive.
func around(values []float64, from, to float64) scale {
	return scale{slices.Min(values) / 1.35, slices.Max(values) * 1.35, from, to}
}

// between is a scale from a tick below all values to one above them.
func between(values []float64, from, to float64) scale {
	s := scale{tick(slices.Min(values), false), tick(slices.Max(values), true), from, to}
	if s.low == s.high {
		s.high *= 2
	}
	return s
}

// tick is the next 1, 2 or 5 times a power of ten.
func tick(v float64, above bool) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	low := power
	for _, f := range []float64{1, 2, 5, 10} {
		if f*power >= v && above {
			return f * power
		}
		if f*power <= v {
			low = f * power
		}
	}
	return low
}
