"""Many models described at the same references: into stores, or as a stream."""
