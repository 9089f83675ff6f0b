"""The Hub: its client, its repositories, commits, files fetched and files read where they lie."""
