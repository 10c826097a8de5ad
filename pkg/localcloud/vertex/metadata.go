package vertex

import (
	"cloud.google.com/go/aiplatform/apiv1/aiplatformpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// generic is the part that all operations' metadata have.
func generic() *aiplatformpb.GenericOperationMetadata {
	now := timestamppb.Now()
	return &aiplatformpb.GenericOperationMetadata{CreateTime: now, UpdateTime: now}
}

func deleteMetadata() *aiplatformpb.DeleteOperationMetadata {
	return &aiplatformpb.DeleteOperationMetadata{GenericMetadata: generic()}
}
