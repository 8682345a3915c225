"""The same three calls as auth-service's."""

from django.urls import path
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from benchmarks.peers.django_auth.views import OwnProfile

urlpatterns = [
    path("v1/login", TokenObtainPairView.as_view()),
    path("v1/refresh", TokenRefreshView.as_view()),
    path("v1/users/me", OwnProfile.as_view()),
]
