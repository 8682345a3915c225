"""Users as others see them: profiles with counts, their tweets, and following them."""
