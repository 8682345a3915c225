"""Sessions of browsers, with the refresh token in a cookie that scripts can't read."""
