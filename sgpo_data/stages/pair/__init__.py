"""What pair makes of each table, one SQL file per table and kind."""
