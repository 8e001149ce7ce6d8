"""Mail: mbox files, Maildir folders and single messages."""
