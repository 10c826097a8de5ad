package run

import (
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tftctl/tftctl/pkg/localcloud/front"
	"github.com/tftctl/tftctl/pkg/localcloud/state"
)

// present returns a copy of a stored service with its addresses, which belong to
// this life of the local cloud and are not stored.
func (s *cloudRun) present(tx *state.Tx, service *runpb.Service) *runpb.Service {
	p := proto.CloneOf(service)
	key := front.Claimed(tx, service.GetName())
	p.Uri = s.FrontURL() + "/" + key
	p.Urls = []string{p.Uri}
	for _, t := range p.GetTrafficStatuses() {
		if t.GetTag() != "" {
			t.Uri = s.FrontURL() + "/" + tagKey(key, t.GetTag())
		}
	}
	return p
}

// tagKey is the route key of a tag: its service's, with the tag before the name.
func tagKey(key, tag string) string {
	slash := strings.LastIndexByte(key, '/')
	return key[:slash+1] + tag + "---" + key[slash+1:]
}

func condition(kind string, is runpb.Condition_State, message string) *runpb.Condition {
	return &runpb.Condition{Type: kind, State: is, Message: message, LastTransitionTime: timestamppb.Now()}
}

// failure is a condition that says which revision did not get ready, and how.
func failure(kind, message string) *runpb.Condition {
	c := condition(kind, runpb.Condition_CONDITION_FAILED, message)
	c.Severity = runpb.Condition_ERROR
	return c
}
