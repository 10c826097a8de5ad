package worker

import (
	"golang.org/x/sys/unix"

	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/tensor"
)

// allocate returns the lanes' memory in one piece. It lies outside Go's heap,
// because a runtime in another language keeps pointers into it between calls.
func allocate(schema model.Schema, o Options) (memory []byte, in, out []tensor.Rows, err error) {
	perIn, perOut := tensor.Size(schema.Inputs, o.Chunk), tensor.Size(schema.Outputs, o.Chunk)
	memory, err = unix.Mmap(-1, 0, o.Lanes*(perIn+perOut), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, nil, err
	}
	rest := memory
	for range o.Lanes {
		i, err := tensor.Over(schema.Inputs, o.Chunk, rest[:perIn])
		if err != nil {
			release(memory)
			return nil, nil, nil, err
		}
		j, err := tensor.Over(schema.Outputs, o.Chunk, rest[perIn:perIn+perOut])
		if err != nil {
			release(memory)
			return nil, nil, nil, err
		}
		in, out, rest = append(in, i), append(out, j), rest[perIn+perOut:]
	}
	return memory, in, out, nil
}

// release gives the memory back. It fails only for memory that was never
// mapped, which is a mistake of this package.
func release(memory []byte) {
	if err := unix.Munmap(memory); err != nil {
		panic(err)
	}
}
