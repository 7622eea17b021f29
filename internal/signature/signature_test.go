package signature

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func keys(t testing.TB, text string) (k Keys) {
	t.Helper()
	require.NoError(t, k.Decode(text))
	return k
}

const (
	one = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	two = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// The example of the specification and of its libraries.
func TestTheSpecificationsExample(t *testing.T) {
	h := http.Header{}
	at := time.Unix(1614265330, 0)
	keys(t, one).Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`), at)
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", h.Get("webhook-signature"))
	require.Equal(t, "1614265330", h.Get("webhook-timestamp"))
	require.NoError(t, keys(t, one).Verify(h, []byte(`{"test": 2432232314}`), at))
}

func TestWhatIsNotSignedRightIsRefused(t *testing.T) {
	now := time.Unix(1700000000, 0)
	body := []byte("body")
	for name, c := range map[string]struct {
		change func(h http.Header)
		at     time.Duration
		want   error
	}{
		"right":             {func(http.Header) {}, 0, nil},
		"four minutes late": {func(http.Header) {}, 4 * time.Minute, nil},
		"stale":             {func(http.Header) {}, Window + time.Second, ErrTime},
		"from the future":   {func(http.Header) {}, -Window - time.Second, ErrTime},
		"another id":        {func(h http.Header) { h.Set(ID, "other") }, 0, ErrWrong},
		"another time":      {func(h http.Header) { h.Set(Timestamp, "1700000001") }, 0, ErrWrong},
		"a time in words":   {func(h http.Header) { h.Set(Timestamp, "now") }, 0, ErrWrong},
		"a padded time":     {func(h http.Header) { h.Set(Timestamp, "01700000000") }, 0, ErrWrong},
		"no signature":      {func(h http.Header) { h.Del(Signature) }, 0, ErrMissing},
		"no id":             {func(h http.Header) { h.Del(ID) }, 0, ErrMissing},
		"another version":   {func(h http.Header) { h.Set(Signature, "v2"+h.Get(Signature)[2:]) }, 0, ErrWrong},
		"one of several":    {func(h http.Header) { h.Set(Signature, "v1,AAAA v1a,x "+h.Get(Signature)) }, 0, nil},
		"garbage":           {func(h http.Header) { h.Set(Signature, "v1,%%% v1, ,") }, 0, ErrWrong},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			keys(t, one).Sign(h, "id", body, now)
			c.change(h)
			require.ErrorIs(t, keys(t, two+","+one).Verify(h, body, now.Add(c.at)), c.want)
			if c.want == nil {
				require.ErrorIs(t, keys(t, one).Verify(h, []byte("Body"), now), ErrWrong)
				require.ErrorIs(t, keys(t, two).Verify(h, body, now), ErrWrong)
			}
		})
	}
}

// A new key is given to the functions, then to the watcher in place of the old
// one, and at no time is a request refused.
func TestKeysAreRotatedWithoutAGap(t *testing.T) {
	now := time.Now()
	for _, phase := range []struct{ watcher, function string }{{one, one}, {one, one + "," + two}, {one + "," + two, two}, {two, two}} {
		h := http.Header{}
		keys(t, phase.watcher).Sign(h, "id", nil, now)
		require.NoError(t, keys(t, phase.function).Verify(h, nil, now), phase)
	}
}

func TestKeysAreNeverShown(t *testing.T) {
	for _, bad := range []string{"secret", "whsec_", "whsec_AAAA", "whsec_!!!!", one + ",", one[6:], "whsec_" + strings.Repeat("A", 100)} {
		var k Keys
		err := k.Decode(bad)
		require.ErrorIs(t, err, ErrKey)
		require.NotContains(t, err.Error(), strings.TrimPrefix(bad, "whsec_")+"x")
	}
	k := keys(t, one)
	require.Equal(t, "set set set", fmt.Sprintf("%v %+v %#v", k, k, k))
	var none Keys
	h := http.Header{}
	none.Sign(h, "id", nil, time.Now())
	require.Empty(t, h)
	require.True(t, none.Empty())
}

func FuzzVerify(f *testing.F) {
	f.Add("id", "1700000000", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte("body"))
	f.Add("", "-1", "v1, v1 ,", []byte(nil))
	k := keys(f, one)
	f.Fuzz(func(t *testing.T, id, at, signature string, body []byte) {
		h := http.Header{ID: {id}, Timestamp: {at}, Signature: {signature}}
		// Nobody guesses a signature.
		require.Error(t, k.Verify(h, body, time.Unix(1700000000, 0)))
	})
}
