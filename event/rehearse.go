package event

import "context"

type rehearsal struct{}

// Rehearse gives a context in which a function has no effect outside: what it
// would send or run, it says to would instead, as text for people without
// secrets, and goes on as if that had succeeded.
func Rehearse(ctx context.Context, would func(text string)) context.Context {
	return context.WithValue(ctx, rehearsal{}, would)
}

// Rehearsing tells a function whether it is called by Rehearse's context, and
// whom to tell what it would do.
func Rehearsing(ctx context.Context) (would func(text string), ok bool) {
	would, ok = ctx.Value(rehearsal{}).(func(string))
	return would, ok
}
