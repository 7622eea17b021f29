package object_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// recorded is a Deployment of 9 KB before and after `kubectl set image`, as an
// API server (v1.37) wrote it.
func recorded(t testing.TB) (old, now []byte) {
	t.Helper()
	old, err := os.ReadFile("testdata/old.json")
	require.NoError(t, err)
	now, err = os.ReadFile("testdata/new.json")
	require.NoError(t, err)
	return old, now
}

// pair is the recorded update, packed and unpacked, when the vocabulary of its
// resource has been learned.
type pair struct {
	packer      *object.Packer
	raw         []byte
	last        *object.Object
	old, now    []byte
	managers    object.Managers
	packedAgain *object.Object
}

// newPair packs with what is a credential outside of Secrets, nil for the rules
// without settings.
func newPair(t testing.TB, rules *credential.Rules) *pair {
	t.Helper()
	old, now := recorded(t)
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	p := &pair{packer: object.NewPacker(deployments, object.NewRedactor(fixedKey, rules), zip.Vocabulary("x")), raw: now}
	for range 1700 {
		_, err := p.packer.Pack(old, nil)
		require.NoError(t, err)
	}
	p.last, err = p.packer.Pack(old, nil)
	require.NoError(t, err)
	p.packedAgain, err = p.packer.Pack(now, nil)
	require.NoError(t, err)
	p.old, p.managers, err = p.packer.Unpack(p.last)
	require.NoError(t, err)
	p.now, _, err = p.packer.Unpack(p.packedAgain)
	require.NoError(t, err)
	return p
}

func (p *pair) pack(t testing.TB) {
	if _, err := p.packer.Pack(p.raw, nil); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) skip(t testing.TB) {
	if o, err := p.packer.Pack(p.raw, func(string) *object.Object { return p.packedAgain }); err != nil || o != p.packedAgain {
		t.Fatal(err)
	}
}

func (p *pair) unpack(t testing.TB) {
	if _, _, err := p.packer.Unpack(p.last); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) compare(t testing.TB) {
	by, err := p.packedAgain.ChangedBy(p.old, p.now, p.managers)
	if err != nil || len(by) != 1 || by[0].Manager != "kubectl-set" {
		t.Fatal(by, err)
	}
}

func BenchmarkPack(b *testing.B)      { bench(b, nil, (*pair).pack) }
func BenchmarkSkipKnown(b *testing.B) { bench(b, nil, (*pair).skip) }
func BenchmarkUnpack(b *testing.B)    { bench(b, nil, (*pair).unpack) }
func BenchmarkChangedBy(b *testing.B) { bench(b, nil, (*pair).compare) }

// BenchmarkPackOfSecretsAlone shows what the rules of redaction cost.
func BenchmarkPackOfSecretsAlone(b *testing.B) {
	off, err := credential.New([]string{"all"}, nil, nil, "")
	require.NoError(b, err)
	bench(b, off, (*pair).pack)
}

func bench(b *testing.B, rules *credential.Rules, f func(*pair, testing.TB)) {
	p := newPair(b, rules)
	b.SetBytes(int64(len(p.raw)))
	b.ReportAllocs()
	for b.Loop() {
		f(p, b)
	}
	b.ReportMetric(float64(p.last.Size()), "B/object")
}

// A fifth more than was measured.
func TestFewAllocationsAnObject(t *testing.T) {
	p := newPair(t, nil)
	for name, c := range map[string]struct {
		most int
		run  func(*pair, testing.TB)
	}{
		"pack":    {12, (*pair).pack},
		"skip":    {4, (*pair).skip},
		"unpack":  {2, (*pair).unpack},
		"compare": {68, (*pair).compare},
	} {
		t.Run(name, func(t *testing.T) { eventtest.Allocs(t, c.most, func() { c.run(p, t) }) })
	}
}
