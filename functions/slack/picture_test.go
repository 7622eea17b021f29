package slack

import (
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pictured are the golden messages in docs/slack.svg.
var pictured = []string{"deployment-rollout", "configmap-yaml", "namespace-deleted"}

// The picture in the documentation shows what is really posted.
func TestThePictureShowsTheGoldenMessages(t *testing.T) {
	const path = "../../docs/slack.svg"
	p := &picture{y: 16}
	for _, name := range pictured {
		raw, err := os.ReadFile(filepath.Join("testdata/recorded", name+".json"))
		require.NoError(t, err)
		var m shown
		require.NoError(t, json.Unmarshal(raw, &m))
		p.message(t, m)
	}
	got := p.svg()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

const (
	pictureWidth = 820
	left, right  = 72, pictureWidth - 20 // of the text
	codeLine     = 18                    // pixels
)

// picture draws messages as Slack shows them.
type picture struct {
	b strings.Builder
	y int // where the next line begins
}

func (p *picture) text(x, y int, class, text string) {
	fmt.Fprintf(&p.b, `<text x="%d" y="%d" class="%s" xml:space="preserve">%s</text>`+"\n", x, y, class, html.EscapeString(text))
}

func (p *picture) message(t *testing.T, m shown) {
	t.Helper()
	fmt.Fprintf(&p.b, `<rect x="20" y="%d" width="38" height="38" rx="6" fill="#1d3557"/>`+"\n", p.y)
	fmt.Fprintf(&p.b, `<ellipse cx="39" cy="%d" rx="13" ry="8" fill="#fff"/><circle cx="39" cy="%d" r="5" fill="#1d3557"/>`+"\n", p.y+19, p.y+19)
	p.text(left, p.y+13, "name", "kwatchman")
	fmt.Fprintf(&p.b, `<rect x="%d" y="%d" width="30" height="15" rx="3" fill="#e8e8e8"/>`+"\n", left+96, p.y+1)
	p.text(left+100, p.y+12, "badge", "APP")
	p.text(left+136, p.y+13, "small", "9:30 AM")
	p.y += 36
	for _, b := range m.Blocks {
		switch {
		case b.Type == "context":
			p.context(b.Elements)
		case strings.HasPrefix(b.Text.Text, fence):
			p.code(b.Text.Text)
		case strings.Contains(b.Text.Text, "*<"):
			p.title(t, b.Text.Text)
		default:
			p.text(left, p.y, "body", html.UnescapeString(b.Text.Text))
			p.y += 14
		}
	}
	p.y += 22
}

// title is a mark and a linked text in bold.
func (p *picture) title(t *testing.T, text string) {
	t.Helper()
	mark, rest, ok := strings.Cut(text, " *<")
	require.True(t, ok)
	_, label, ok := strings.Cut(strings.TrimSuffix(rest, ">*"), "|")
	require.True(t, ok)
	colour := map[string]string{"🟢": "#2eb67d", "🟡": "#ecb22e", "🔴": "#e01e5a"}[mark]
	require.NotEmpty(t, colour)
	fmt.Fprintf(&p.b, `<circle cx="%d" cy="%d" r="7" fill="%s"/>`+"\n", left+8, p.y-5, colour)
	p.text(left+22, p.y, "link", html.UnescapeString(label))
	p.y += 22
}

func (p *picture) context(parts []shownText) {
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = html.UnescapeString(part.Text)
		if strings.HasPrefix(part.Text, "<!date") {
			texts[i] = "Today 9:30:01 AM" // as Slack shows it on that day
		}
	}
	p.text(left, p.y, "small", strings.Join(texts, "    "))
	p.y += 23
}

func (p *picture) code(text string) {
	lines := strings.Split(strings.TrimSuffix(strings.TrimPrefix(text, fence+"\n"), "\n"+fence), "\n")
	height := len(lines)*codeLine + 14
	fmt.Fprintf(&p.b, `<rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="#f8f8f8" stroke="#ddd"/>`+"\n", left, p.y, right-left, height)
	for i, l := range lines {
		p.text(left+10, p.y+20+i*codeLine, "code", html.UnescapeString(l))
	}
	p.y += height + 4
}

func (p *picture) svg() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="Three messages in Slack">
<style>
text { fill: #1d1c1d; font: 15px Lato, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
.name, .link { font-weight: 700; }
.link { fill: #1264a3; }
.small { fill: #616061; font-size: 13px; }
.badge { fill: #616061; font-size: 10px; font-weight: 700; }
.code { font: 12.5px Menlo, Consolas, "DejaVu Sans Mono", monospace; }
</style>
<rect width="100%%" height="100%%" fill="#fff"/>
%s</svg>
`, pictureWidth, p.y, pictureWidth, p.y, p.b.String())
}
