package eventtest

import (
	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
)

// Sample is a change of the Deployment shop/web; see conform.Sample.
func Sample(action event.Action) event.Event { return conform.Sample(action) }

// SampleClusterScoped is a change of a ClusterRole.
func SampleClusterScoped(action event.Action) event.Event { return conform.SampleClusterScoped(action) }

// SampleOddName is a change of a Role whose name no header can carry as it is.
func SampleOddName(action event.Action) event.Event { return conform.SampleOddName(action) }
