package blob_test

import (
	"testing"

	"github.com/tftctl/tftctl/pkg/blob"
	"github.com/tftctl/tftctl/pkg/blob/blobtest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(testing.TB) blobtest.Store { return new(blob.Memory) })
}
