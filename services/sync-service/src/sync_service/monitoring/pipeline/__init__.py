"""`/v1/pipeline`: every part of the way from one store to the other, as it is seen from outside."""
