"""Where results go: videos, tables, messages, pictures, clips and a window."""
