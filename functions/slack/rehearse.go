package slack

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/kwatchman/kwatchman/event"
)

// rehearse says what would be posted, and where.
func rehearse(d destination, m *message, would func(string)) error {
	to, err := d.to(m)
	if err != nil {
		return event.Permanent(err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"text": m.text, "blocks": m.blocks}); err != nil {
		return event.Permanent(fmt.Errorf("encode message: %w", err))
	}
	would("post " + to + "\n" + b.String())
	return nil
}

func (p *webhookPoster) to(*message) (string, error) { return "to the incoming webhook", nil }

func (b *bot) to(m *message) (string, error) {
	channel, err := channelName(b.channel, m.data)
	if err != nil {
		return "", err
	}
	to := "to Slack channel " + channel
	if b.threads {
		to += ", in the thread about the object if there is one"
	}
	if m.cut {
		to += ", with the whole payload as a file"
	}
	return to, nil
}
