package source

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var resource = schema.GroupResource{Resource: "configmaps"}

func ahead5() error {
	err := apierrors.NewTimeoutError("Too large resource version", 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	return err
}

// This is Position.After.
func TestOnlyAnAnswerAboutTheHistoryEndsTheResume(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		after int // how many of them the objects are listed; 0: never
	}{
		{"expired", apierrors.NewResourceExpired("too old"), 1},
		{"gone", &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonGone, Code: 410}}, 1},
		{"not served", apierrors.NewNotFound(resource, ""), 1},
		{"version ahead of the server", ahead5(), resumeAttempts},
		{"unreadable", brokenEvent(errLine), resumeAttempts},
		{"bad request", apierrors.NewBadRequest("no"), resumeAttempts},
		{"ordinary end", nil, 0},
		{"unreachable", errors.New("connection refused"), 0},
		{"unavailable", apierrors.NewServiceUnavailable("starting"), 0},
		{"busy", apierrors.NewTooManyRequests("busy", 1), 0},
		{"internal error", apierrors.NewInternalError(errors.New("webhook")), 0},
		{"forbidden", apierrors.NewForbidden(resource, "", errors.New("no")), 0},
		{"unauthorized", apierrors.NewUnauthorized("no"), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Position{Version: "7"}
			for n := 1; n <= 20 && p.Version != ""; n++ {
				p = p.After(tt.err)
				require.Equal(t, n == tt.after, p.Version == "", "after %d", n)
			}
			require.Equal(t, tt.after == 0, p.Version != "")
			if tt.after != 0 {
				require.Equal(t, "7", p.lost, "what is lost is known")
			}
		})
	}
	p := Position{Version: "7"}
	for range 20 {
		p = p.After(ahead5()).Progress("8") // an event in between starts the count anew
	}
	require.Equal(t, "8", p.Version)
}

// This is Position.After and Position.AfterPast.
func TestAGapIsListedWhereTheHistoryBegins(t *testing.T) {
	begins := func(at string) error { return apierrors.NewResourceExpired("too old resource version: 7 (" + at + ")") }
	p := Position{Version: "7"}.After(begins("20"))
	require.Equal(t, Position{ListAt: "20", tried: "20", lost: "7"}, p)
	require.Equal(t, p, p.AfterPast(errors.New("connection reset")), "who cannot be asked has not said no")
	require.Equal(t, p, p.AfterPast(apierrors.NewServiceUnavailable("starting")))
	require.Empty(t, p.AfterPast(apierrors.NewResourceExpired("compacted")).ListAt, "then the newest state is listed")
	require.Equal(t, "7", p.AfterPast(apierrors.NewResourceExpired("compacted")).lost)

	listed := p.Listed("20")
	require.Equal(t, "20", listed.Version)
	require.Equal(t, "30", listed.After(begins("30")).ListAt, "the API server has started once more meanwhile")
	require.Equal(t, "20", listed.After(begins("30")).lost)
	require.Empty(t, listed.After(begins("20")).ListAt, "the same answer again: that list is not one to go on from")
	require.Equal(t, "20", listed.Progress("21").After(begins("20")).ListAt, "but after progress it is asked for anew")
	require.Empty(t, Position{Version: "7"}.After(apierrors.NewResourceExpired("too old")).ListAt, "a server that does not say")
}
