package source

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func resumable() *listWatch {
	return &listWatch{version: "7", log: slog.New(slog.DiscardHandler), explain: func(err error) error { return err }}
}

func TestOnlyAnAnswerAboutTheHistoryEndsTheResume(t *testing.T) {
	resource := schema.GroupResource{Resource: "configmaps"}
	tooLarge := apierrors.NewTimeoutError("Too large resource version", 1)
	tooLarge.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	tests := []struct {
		name  string
		err   error
		after int // how many of them; 0: never
	}{
		{"expired", apierrors.NewResourceExpired("too old"), 1},
		{"gone", &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonGone, Code: 410}}, 1},
		{"not served", apierrors.NewNotFound(resource, ""), 1},
		{"version ahead of the server", tooLarge, resumeAttempts},
		{"unreadable", apierrors.FromObject(brokenEvent(errLine).Object), resumeAttempts},
		{"bad request", apierrors.NewBadRequest("no"), resumeAttempts},
		{"unreachable", errors.New("connection refused"), 0},
		{"unavailable", apierrors.NewServiceUnavailable("starting"), 0},
		{"busy", apierrors.NewTooManyRequests("busy", 1), 0},
		{"internal error", apierrors.NewInternalError(errors.New("webhook")), 0},
		{"forbidden", apierrors.NewForbidden(resource, "", errors.New("no")), 0},
		{"unauthorized", apierrors.NewUnauthorized("no"), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lw := resumable()
			for n := 1; n <= 20 && lw.resumePoint() != ""; n++ {
				lw.note(tt.err)
				require.Equal(t, n == tt.after, lw.resumePoint() == "", "after %d", n)
			}
			require.Equal(t, tt.after == 0, lw.resumePoint() != "")
		})
	}
	lw := resumable()
	for range 20 {
		lw.note(tooLarge)
		lw.progress("8") // an event in between starts the count anew
	}
	require.Equal(t, "8", lw.resumePoint())
}
