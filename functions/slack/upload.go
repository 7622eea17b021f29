package slack

import (
	"context"
	"errors"
	"strings"

	"github.com/slack-go/slack"

	"github.com/kwatchman/kwatchman/event"
)

// upload puts the whole payload into the thread as a file. The message is
// posted already and says that something is missing, so what another attempt
// cannot mend, or an attempt that could not find the message again, is no
// failure.
func (b *bot) upload(ctx context.Context, at place, e *event.Event) error {
	text := e.Payload.Text()
	if text == "" {
		return nil
	}
	_, err := b.api.UploadFileContext(ctx, slack.UploadFileParameters{
		Filename: fileName(e), Title: e.Title(), Content: text, FileSize: len(text),
		Channel: at.channel, ThreadTimestamp: at.thread,
	})
	if err == nil {
		return nil
	}
	err = failure("upload to Slack", err)
	failed, ok := errors.AsType[*event.Error](err)
	if b.threads && (!ok || failed.Status != event.StatusPermanent) {
		return err
	}
	b.warn(&b.unfiled, "of a long diff the beginning shows: give the app files:write", err)
	return nil
}

// fileName names the file of an event: the same for every attempt, and no other
// event's.
func fileName(e *event.Event) string {
	name := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' {
			return r
		}
		return '-'
	}, strings.ToLower(e.Kind+"-"+e.Name))
	if len(name) > maxChannelName {
		name = name[:maxChannelName]
	}
	suffix := ".txt"
	if e.Payload != nil && strings.HasPrefix(e.Payload.ContentType, "text/x-diff") {
		suffix = ".diff"
	}
	return name + "-" + digest(e.ID)[:8] + suffix
}
