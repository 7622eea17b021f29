package diff

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func TestKeepsTheHandlerProtocol(t *testing.T) {
	h, err := New(Config{})
	require.NoError(t, err)
	quiet := eventtest.Sample(event.Update)
	quiet.OldObject = quiet.Object
	eventtest.Run(t, eventtest.Target{Handler: h, Continues: eventtest.Sample(event.Update), Stops: &quiet})
}
