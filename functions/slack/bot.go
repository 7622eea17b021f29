package slack

import (
	"context"
	"log/slog"
	"slices"

	"github.com/slack-go/slack"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/internal/templates"
)

// metadataType marks the messages of kwatchman in a channel's history. Their
// metadata holds the id and the subject of the event.
const metadataType = "kwatchman_change"

// bot posts with a token, which slack-go keeps: no error and no log line may
// hold it.
type bot struct {
	api      *slack.Client
	channel  *templates.Template
	channels *channels
	threads  bool
	// unread and unfiled say now and then what the token may not do.
	unread, unfiled seldom.Line
}

func newBot(token, api, channel string, threads bool) (*bot, error) {
	t, err := newTemplate("SLACK_CHANNEL", channel, false)
	if err != nil {
		return nil, err
	}
	client := slack.New(token, slack.OptionAPIURL(api), slack.OptionHTTPClient(newClient(postTimeout)))
	return &bot{api: client, channel: t, channels: newChannels(client), threads: threads}, nil
}

// send posts the message unless it stands in the channel already, as after an
// answer that got lost, and then uploads a payload that did not fit.
func (b *bot) send(ctx context.Context, e *event.Event, m *message) error {
	channel, err := channelName(b.channel, m.data)
	if err != nil {
		return event.Permanent(err)
	}
	at, err := b.find(ctx, channel, e)
	if err != nil {
		return err
	}
	if at.own == "" {
		if err := b.post(ctx, channel, &at, e, m); err != nil {
			return err
		}
	}
	if !m.cut || at.filed {
		return nil
	}
	return b.upload(ctx, at, e)
}

// post sends the message and notes in at where it stands.
func (b *bot) post(ctx context.Context, channel string, at *place, e *event.Event, m *message) error {
	to := channel
	if at.channel != "" {
		to = at.channel
	}
	options := []slack.MsgOption{
		slack.MsgOptionText(m.text, false),
		slack.MsgOptionBlocks(named(m.blocks, blockName(e.Subject, e.ID))...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
		slack.MsgOptionMetadata(slack.SlackMetadata{EventType: metadataType, EventPayload: map[string]any{
			"id": e.ID, "subject": e.Subject,
		}}),
	}
	threaded := options
	if at.thread != "" {
		threaded = append(options[:len(options):len(options)], slack.MsgOptionTS(at.thread))
	}
	id, ts, err := b.api.PostMessageContext(ctx, to, threaded...)
	if at.thread != "" && hasWord(err, "thread_not_found", "cannot_reply_to_message") { // deleted since
		at.thread = ""
		id, ts, err = b.api.PostMessageContext(ctx, to, options...)
	}
	if err == nil && ts == "" { // slack-go takes a refusal without a word for a success
		err = slack.SlackErrorResponse{}
	}
	if err != nil {
		return failure("post to Slack channel "+channel, err)
	}
	b.channels.learn(channel, id)
	at.channel, at.own = id, ts
	if at.thread == "" {
		at.thread = ts
	}
	return nil
}

// named are the blocks with a name for the first.
func named(blocks []slack.Block, name string) []slack.Block {
	out := slices.Clone(blocks)
	if first, ok := out[0].(*slack.SectionBlock); ok {
		with := *first
		with.BlockID, out[0] = name, &with
	}
	return out
}

// warn says now and then what the token may not do, which costs comfort and no
// message.
func (b *bot) warn(line *seldom.Line, effect string, err error) {
	if line.Due() {
		slog.Warn("Slack does not allow all that the function could do", "effect", effect, "err", err)
	}
}
