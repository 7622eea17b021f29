package slack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
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
	if err == nil {
		return at, nil
	}
	err = failure("read Slack channel "+channel, err)
	if failed, ok := errors.AsType[*event.Error](err); !ok || failed.Status != event.StatusPermanent {
		return at, err
	}
	// What the token may not read it may still be allowed to post to; if not,
	// Slack says so next.
	b.warn(&b.unread, "messages join no thread: give the app channels:read and channels:history "+
		"(groups:… for private channels) and invite it", err)
	return place{channel: id}, nil
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
			object, same := about(m, e)
			if !object || m.ThreadTimestamp != "" && m.ThreadTimestamp != m.Timestamp {
				continue
			}
			at.thread = m.Timestamp
			if same {
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
			if _, same := about(m, e); same {
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

// about tells whether a message is about the object of e, and whether it is the
// one about e itself. Metadata says so; where Slack keeps it back, the name of
// the first block.
func about(m *slack.Msg, e *event.Event) (object, same bool) {
	if m.Metadata.EventType == metadataType {
		data := m.Metadata.EventPayload
		return data["subject"] == e.Subject, data["id"] == e.ID
	}
	if len(m.Blocks.BlockSet) == 0 {
		return false, false
	}
	name := m.Blocks.BlockSet[0].ID()
	return strings.HasPrefix(name, blockName(e.Subject, "")), name == blockName(e.Subject, e.ID)
}

// blockName names the first block of a message: the same for the same event.
func blockName(subject, id string) string {
	name := "kwatchman." + digest(subject) + "."
	if id != "" {
		name += digest(id)
	}
	return name
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
