package event_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

func TestRehearsalTellsWhatWouldBeDone(t *testing.T) {
	_, ok := event.Rehearsing(t.Context())
	require.False(t, ok)
	var said []string
	ctx, cancel := context.WithCancel(event.Rehearse(t.Context(), func(text string) { said = append(said, text) }))
	defer cancel()
	would, ok := event.Rehearsing(ctx)
	require.True(t, ok)
	would("POST https://example.com")
	require.Equal(t, []string{"POST https://example.com"}, said)
}
