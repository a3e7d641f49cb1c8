package main

import "context"

// measureInMemory does what is done in a Vault whose storage is memory.
func measureInMemory(ctx context.Context, o options, r *report) error {
	s, err := startStack(ctx, o.vault, "inmem")
	if err != nil {
		return err
	}
	defer s.stop(ctx)
	if err := s.fill(ctx, o.roles); err != nil {
		return err
	}
	say("  rotation of all roles at once")
	if err := rotateMany(ctx, s, r); err != nil {
		return err
	}
	say("  reads while roles are rotated, and while not")
	if err := readBeside(ctx, o, s, r); err != nil {
		return err
	}
	say("  first reads after a reload of the plugin")
	if err := firstReads(ctx, s, r); err != nil {
		return err
	}
	return measureReading(ctx, o, s, inMemory, r)
}

// measureRaft reads in a Vault whose storage is raft.
func measureRaft(ctx context.Context, o options, r *report) error {
	s, err := startStack(ctx, o.vault, "raft")
	if err != nil {
		return err
	}
	defer s.stop(ctx)
	if err := s.fill(ctx, o.roles); err != nil {
		return err
	}
	return measureReading(ctx, o, s, raft, r)
}
