"""HTTP service: images in, feature vectors, class predictions and filter pictures out."""
