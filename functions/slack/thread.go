package slack

import (
	"context"
	"fmt"
	"time"

	"github.com/slack-go/slack"

	"github.com/kwatchman/kwatchman/event"
)

const (
	historyPage  = 200 // messages, as many as Slack advises
	historyPages = 3
	repliesPages = 3
	// manyReplies is from when on only the newer replies of a thread are read.
	manyReplies = 200
	clockSkew   = time.Hour
)

// place is where a message belongs and what of it is there.
type place struct {
	channel string // id; empty when the token may not look
	thread  string // timestamp of the first message about the object
	own     string // timestamp of this event's message
	filed   bool   // its file is there too
}

// find looks through the newest messages of a channel for the thread about the
// object and for the message about this very event. Where the token may not
// read, the message goes out on its own.
func (b *bot) find(ctx context.Context, channel string, e *event.Event) (place, error) {
	var at place
	if !b.threads {
		return at, nil
	}
	id, err := b.channels.id(ctx, channel)
	if err == nil && id != "" {
		at.channel = id
		err = b.search(ctx, &at, e)
	}
	switch {
	case err == nil:
		return at, nil
	case hasWord(err, "missing_scope", "not_in_channel", "channel_not_found", "not_allowed_token_type", "no_permission",
		"method_not_supported_for_channel_type", "access_denied", "restricted_action"):
		b.warn(&b.unread, "messages join no thread: give the app channels:read and channels:history "+
			"(groups:… for private channels) and invite it", failure("read from Slack", err))
		return place{channel: id}, nil
	}
	return at, failure("read Slack channel "+channel, err)
}

func (b *bot) search(ctx context.Context, at *place, e *event.Event) error {
	replies, err := b.searchHistory(ctx, at, e)
	if err != nil || at.thread == "" {
		return err
	}
	return b.searchReplies(ctx, at, e, replies)
}

// searchHistory finds the newest message about the object that is no reply, and
// tells how many replies it has.
func (b *bot) searchHistory(ctx context.Context, at *place, e *event.Event) (replies int, err error) {
	cursor, seen := "", 0
	for range historyPages {
		page, err := b.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
			ChannelID: at.channel, Cursor: cursor, Limit: historyPage, IncludeAllMetadata: true,
		})
		if err != nil {
			return 0, err
		}
		for i := range page.Messages {
			m := &page.Messages[i].Msg
			if !about(m, "subject", e.Subject) || m.ThreadTimestamp != "" && m.ThreadTimestamp != m.Timestamp {
				continue
			}
			at.thread = m.Timestamp
			if about(m, "id", e.ID) {
				at.own = m.Timestamp
			}
			return m.ReplyCount, nil
		}
		seen += len(page.Messages)
		if cursor = page.ResponseMetaData.NextCursor; cursor == "" || seen >= historyPage {
			return 0, nil
		}
	}
	return 0, nil
}

// searchReplies looks for the message about this event and for its file.
func (b *bot) searchReplies(ctx context.Context, at *place, e *event.Event, replies int) error {
	p := &slack.GetConversationRepliesParameters{
		ChannelID: at.channel, Timestamp: at.thread, Limit: historyPage, IncludeAllMetadata: true,
	}
	if replies > manyReplies {
		p.Oldest = fmt.Sprintf("%d.000000", e.Time.Add(-clockSkew).Unix())
	}
	file := fileName(e)
	for range repliesPages {
		found, _, next, err := b.api.GetConversationRepliesContext(ctx, p)
		if err != nil {
			return err
		}
		for i := range found {
			m := &found[i].Msg
			if about(m, "id", e.ID) {
				at.own = m.Timestamp
			}
			for _, f := range m.Files {
				at.filed = at.filed || f.Name == file
			}
		}
		if next == "" {
			return nil
		}
		p.Cursor = next
	}
	return nil
}

// about tells whether a message is one of kwatchman's with this in its metadata.
func about(m *slack.Msg, key, value string) bool {
	return m.Metadata.EventType == metadataType && m.Metadata.EventPayload[key] == value
}
