package lease

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// do sends a request with an object, if there is one, and reads the answer.
func (e *Election) do(ctx context.Context, r *rest.Request, body, into any) error {
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = r.SetHeader("Content-Type", "application/json").Body(raw)
	}
	result := r.SetHeader("Accept", "application/json").Do(ctx)
	if err := result.Error(); err != nil { // of which Raw does not read the message
		return err
	}
	raw, err := result.Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return errors.New("the answer is no Lease")
	}
	return nil
}

func microTime(t time.Time) *metav1.MicroTime { return &metav1.MicroTime{Time: t} }
